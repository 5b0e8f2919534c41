//! Fairness between clients.
//!
//! Each client's service is counted, and of requests of equal priority those of the client that had
//! least go first. A client that comes back from idleness starts from the least of those that are
//! active, so that it cannot save up service (Sheng et al., Fairness in Serving Large Language
//! Models, 2024: virtual token counter).

use slab::Slab;
use std::collections::HashMap;

/// What a computed position of a prompt counts, and a generated one.
const PROMPTED: u64 = 1;
const GENERATED: u64 = 2;

/// The clients that have requests, and those that had more than their share.
#[derive(Debug, Default)]
pub(super) struct Clients {
    names: HashMap<String, usize>,
    clients: Slab<Client>,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    served: u64,
    requests: usize,
}

impl Clients {
    /// A request of the client of this name comes; returns the client's number.
    pub(super) fn enter(&mut self, name: &str) -> usize {
        let active = self.clients.iter().filter(|(_, c)| c.requests > 0);
        let least = active.map(|(_, c)| c.served).min();
        let matters = |c: &Client| c.requests > 0 || Some(c.served) > least;
        if least.is_none() {
            self.names.clear();
            self.clients.clear();
        } else {
            self.clients.retain(|_, c| matters(c));
            self.names
                .retain(|_, client| self.clients.contains(*client));
        }
        let start = Client {
            served: least.unwrap_or(0),
            requests: 0,
        };
        let client = match self.names.get(name) {
            Some(client) => *client,
            None => {
                let client = self.clients.insert(start);
                self.names.insert(name.to_owned(), client);
                client
            }
        };
        self.clients[client].requests += 1;
        client
    }

    /// A request of `client` has ended.
    pub(super) fn leave(&mut self, client: usize) {
        self.clients[client].requests -= 1;
    }

    /// Counts `rows` positions that were computed for `client`.
    pub(super) fn charge(&mut self, client: usize, rows: usize, generated: bool) {
        let each = if generated { GENERATED } else { PROMPTED };
        self.clients[client].served += each * rows as u64;
    }

    pub(super) fn served(&self, client: usize) -> u64 {
        self.clients[client].served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_clients_save_nothing_up() {
        let mut clients = Clients::default();
        let a = clients.enter("a");
        clients.charge(a, 100, false);
        let b = clients.enter("b");
        assert_eq!(clients.served(b), 100);
        clients.charge(b, 10, true);
        assert_eq!((clients.served(a), clients.served(b)), (100, 120));
        clients.leave(b);
        clients.charge(a, 1, false);
        // Still ahead of the other, so it is remembered.
        let b = clients.enter("b");
        assert_eq!(clients.served(b), 120);
        clients.leave(b);
        clients.charge(a, 100, false);
        let b = clients.enter("b");
        assert_eq!(clients.served(b), 201);
        clients.leave(a);
        clients.leave(b);
        let c = clients.enter("c");
        assert_eq!((clients.served(c), clients.clients.len()), (0, 1));
    }
}
