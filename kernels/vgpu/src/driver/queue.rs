//! Deferred work, and the order in which it may run.

use super::code::Code;
use super::stream::{Kind, Named};
use super::table::Handle;
use super::trace;
use super::work::Work;
use super::{Driver, Running, State};
use std::collections::{BTreeMap, BTreeSet};

/// How many operations may wait before submitting another one runs some.
const DEPTH: usize = 1024;

/// How many bytes of the host's memory may wait in copies before submitting runs some.
const STAGED: usize = 256 << 20;

/// The number of an operation. Later operations have higher ones and depend on lower ones only.
pub(super) type Ticket = u64;

/// What is to be done, when, and for whom.
pub(super) struct Operation {
    context: Handle,
    /// What must have been done before.
    after: Vec<Ticket>,
    work: Work,
}

/// The operations of all contexts.
#[derive(Default)]
pub(super) struct Queue {
    pending: BTreeMap<Ticket, Operation>,
    /// What a thread is doing now.
    executing: Option<Ticket>,
    last: Ticket,
    /// The bytes that the pending operations hold.
    staged: usize,
}

impl Operation {
    pub(super) fn new(context: Handle, after: Vec<Ticket>, work: Work) -> Operation {
        Operation {
            context,
            after,
            work,
        }
    }
}

impl Queue {
    pub(super) fn push(&mut self, operation: Operation) -> Ticket {
        self.last += 1;
        self.staged += operation.work.staged();
        self.pending.insert(self.last, operation);
        self.last
    }

    /// Takes an operation out to be executed.
    fn take(&mut self, ticket: Ticket) -> Option<Operation> {
        let operation = self.pending.remove(&ticket)?;
        self.staged -= operation.work.staged();
        self.executing = Some(ticket);
        Some(operation)
    }

    /// Whether so much waits that a context should get some of its own done.
    fn is_full(&self, context: Handle) -> bool {
        let long = self.pending.len() > DEPTH && self.waiting(context).len() > DEPTH;
        long || self.staged > STAGED
    }

    /// Whether an operation was executed or forgotten.
    pub(super) fn is_done(&self, ticket: Ticket) -> bool {
        !self.pending.contains_key(&ticket) && self.executing != Some(ticket)
    }

    /// Drops what waits in a context, and returns the addresses that were to be freed.
    pub(super) fn forget(&mut self, context: Handle) -> Vec<u64> {
        let waiting = self.waiting(context);
        let dropped = waiting
            .iter()
            .filter_map(|ticket| self.pending.remove(ticket));
        let freed = dropped.filter_map(|operation| match operation.work {
            Work::Free(address) => Some(address),
            _ => None,
        });
        let freed = freed.collect();
        let staged = self
            .pending
            .values()
            .map(|operation| operation.work.staged());
        self.staged = staged.sum();
        freed
    }

    /// What waits in a context.
    fn waiting(&self, context: Handle) -> Vec<Ticket> {
        let pending = self.pending.iter();
        let own = pending.filter(|(_, operation)| operation.context == context);
        own.map(|(&ticket, _)| ticket).collect()
    }

    /// The targets and all that they wait for, in an order that they can be executed in.
    fn needed(&self, targets: impl IntoIterator<Item = Ticket>) -> BTreeSet<Ticket> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<Ticket> = targets.into_iter().collect();
        while let Some(ticket) = open.pop() {
            if let Some(operation) = self.pending.get(&ticket)
                && needed.insert(ticket)
            {
                open.extend(&operation.after);
            }
        }
        needed
    }
}

impl State {
    /// Appends work to a stream that executes, behind all that its kind makes it wait for and
    /// behind `also`.
    pub(super) fn enqueue(
        &mut self,
        stream: Handle,
        also: Option<Ticket>,
        work: Work,
    ) -> Result<Ticket, Code> {
        let mut after = self.awaited(stream)?;
        after.extend(also);
        after.retain(|ticket| !self.queue.is_done(*ticket));
        let entry = self.streams.get_mut(stream, Code::InvalidHandle)?;
        entry.last = self.queue.push(Operation::new(entry.context, after, work));
        Ok(entry.last)
    }

    /// What the next operation of a stream waits for: the stream's last one, and across the
    /// legacy default stream those of others.
    pub(super) fn awaited(&self, stream: Handle) -> Result<Vec<Ticket>, Code> {
        let entry = self.streams.get(stream, Code::InvalidHandle)?;
        let other_kind = match entry.kind {
            Kind::Legacy => Kind::Blocking,
            Kind::Blocking => Kind::Legacy,
            Kind::NonBlocking => return Ok(vec![entry.last]),
        };
        let others = self.streams.values();
        let others = others.filter(|s| s.context == entry.context && s.kind == other_kind);
        Ok(others.map(|s| s.last).chain([entry.last]).collect())
    }

    /// What must be done for a stream to be done: for the legacy default stream, that of all
    /// blocking streams too.
    pub(super) fn unfinished(&self, stream: Handle) -> Result<Vec<Ticket>, Code> {
        let entry = self.streams.get(stream, Code::InvalidHandle)?;
        match entry.kind {
            Kind::Legacy => self.awaited(stream),
            Kind::Blocking | Kind::NonBlocking => Ok(vec![entry.last]),
        }
    }
}

impl Driver {
    /// Appends work to a stream. It is executed once somebody waits for it; in a stream that
    /// captures it becomes a node instead, and there is nothing to wait for.
    pub(super) fn submit(&self, named: Named, work: Work) -> Result<Option<Ticket>, Code> {
        let mut state = self.state();
        if state.admit(named.stream)?.is_some() {
            state.add_captured(named.stream, work)?;
            return Ok(None);
        }
        self.trace.note(trace::Kind::Submit, || work.name());
        let ticket = state.enqueue(named.stream, None, work)?;
        drop(state);
        self.make_room(named.context, ticket);
        Ok(Some(ticket))
    }

    /// Executes what `ticket` needs if too much waits in a context.
    pub(super) fn make_room(&self, context: Handle, ticket: Ticket) {
        let full = self.state().queue.is_full(context);
        if full {
            self.run(&self.running(), [ticket]);
        }
    }

    /// Executes what `tickets` need, then reports how their context fares.
    pub(super) fn finish(
        &self,
        context: Handle,
        tickets: impl IntoIterator<Item = Ticket>,
    ) -> Result<(), Code> {
        self.trace.note(trace::Kind::Wait, String::new);
        self.run(&self.running(), tickets);
        self.state().healthy(context)
    }

    /// Executes all that waits in a context, then reports how it fares.
    pub(super) fn finish_context(&self, context: Handle) -> Result<(), Code> {
        self.trace.note(trace::Kind::Wait, String::new);
        drop(self.settle(context));
        self.state().healthy(context)
    }

    /// Executes all that waits in a context and keeps every thread from executing more.
    pub(super) fn settle(&self, context: Handle) -> Running<'_> {
        let running = self.running();
        let waiting = self.state().queue.waiting(context);
        self.run(&running, waiting);
        running
    }

    /// Whether an operation was executed. If not, executes one that it needs, so that a program
    /// which asks again and again gets on.
    pub(super) fn poll(&self, context: Handle, tickets: &[Ticket]) -> Result<(), Code> {
        let done = {
            let state = self.state();
            tickets.iter().all(|&ticket| state.queue.is_done(ticket))
        };
        if done {
            return self.state().healthy(context);
        }
        if let Some(running) = self.try_running() {
            let mut needed = self.state().queue.needed(tickets.iter().copied());
            self.run(&running, needed.pop_first());
            self.state().healthy(context)?;
        }
        Err(Code::NotReady)
    }

    /// Executes what `targets` need.
    pub(super) fn run(&self, _: &Running<'_>, targets: impl IntoIterator<Item = Ticket>) {
        let needed = self.state().queue.needed(targets);
        for ticket in needed {
            let Some(operation) = self.state().queue.take(ticket) else {
                continue; // Its context failed meanwhile.
            };
            self.trace.note(trace::Kind::Run, || operation.work.name());
            let outcome = operation.work.execute_guarded(&self.gpu, &self.counting);
            let mut state = self.state();
            state.queue.executing = None;
            if let Err(failure) = outcome {
                state.fail(operation.context, failure.code, failure.text);
            }
        }
    }
}
