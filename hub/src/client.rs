//! Requests to a hub: redirects, the token, timeouts, and what may be tried again.

use crate::{Error, ModelRef, Options};
use std::io;
use std::thread;
use std::time::Duration;
use ureq::config::Config;
use ureq::http::{HeaderName, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

/// Redirects of one request.
const MAX_REDIRECTS: usize = 10;
/// The longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// What decides whether an address is the hub's own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// None if the address is not one of http or https.
    pub(crate) fn of(url: &str) -> Option<Origin> {
        let uri: Uri = url.parse().ok()?;
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Origin {
            https,
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
        })
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The model's files.
    Listing,
    /// A file's size and checksum: the headers of the hub itself, which may then redirect elsewhere.
    Metadata,
    /// A file from this byte on.
    Content(u64),
}

/// Why a request failed.
pub(crate) enum Failure {
    /// It would fail again.
    Final(Box<Error>),
    /// It may pass; tried again after this time at the earliest.
    Passing(Box<Error>, Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(Box::new(error))
    }
}

/// A passing failure of the connection.
pub(crate) fn broken(url: &str, cause: impl ToString) -> Failure {
    let error = Error::Unreachable {
        url: public(url).to_owned(),
        cause: cause.to_string(),
    };
    Failure::Passing(Box::new(error), Duration::ZERO)
}

pub(crate) fn bad_answer(url: &str, problem: impl Into<String>) -> Error {
    Error::BadAnswer {
        url: public(url).to_owned(),
        problem: problem.into(),
    }
}

/// The value of a header, if it is text.
pub(crate) fn header<'r>(response: &'r Response<Body>, name: &HeaderName) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

/// How many failures in a row there have been.
pub(crate) struct Patience<'a> {
    options: &'a Options,
    failures: u32,
}

impl Patience<'_> {
    /// Waits, or gives up with the error.
    pub(crate) fn bear(&mut self, failure: Failure) -> Result<(), Error> {
        let (error, least) = match failure {
            Failure::Final(error) => return Err(*error),
            Failure::Passing(error, least) => (error, least),
        };
        if self.failures >= self.options.retries {
            return Err(*error);
        }
        let doubled = 1 << self.failures.min(16);
        let wait = self.options.backoff.saturating_mul(doubled).max(least);
        self.failures += 1;
        tracing::info!(%error, ?wait, "a request is tried again");
        thread::sleep(wait);
        Ok(())
    }

    /// Something worked in between.
    pub(crate) fn renew(&mut self) {
        self.failures = 0;
    }
}

/// Asks a hub about one model.
pub(crate) struct Client<'a> {
    pub(crate) model: &'a ModelRef,
    pub(crate) options: &'a Options,
    agent: Agent,
    origin: Origin,
}

impl<'a> Client<'a> {
    pub(crate) fn new(model: &'a ModelRef, options: &'a Options) -> Result<Client<'a>, Error> {
        let Some(origin) = Origin::of(&options.endpoint) else {
            return Err(bad_answer(&options.endpoint, "not an address of a hub"));
        };
        let timeout = Some(options.timeout);
        let config = Config::builder()
            .user_agent(concat!("gamut/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            // Redirects are followed here, where it is known who may see the token.
            .max_redirects(0)
            .timeout_resolve(timeout)
            .timeout_connect(timeout)
            .timeout_send_request(timeout)
            .timeout_recv_response(timeout)
            .timeout_per_read(timeout)
            .build();
        Ok(Client {
            model,
            options,
            agent: Agent::new_with_config(config),
            origin,
        })
    }

    pub(crate) fn patience(&self) -> Patience<'a> {
        Patience {
            options: self.options,
            failures: 0,
        }
    }

    /// Does something until it works or is not worth another try.
    pub(crate) fn persist<T>(
        &self,
        mut work: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut patience = self.patience();
        loop {
            match work() {
                Ok(done) => return Ok(done),
                Err(failure) => patience.bear(failure)?,
            }
        }
    }

    /// One request, with its redirects. The answer is a success, or for metadata a redirect that
    /// leads away from the hub; it comes with the address that gave it.
    pub(crate) fn ask(&self, url: &str, asked: Asked) -> Result<(Response<Body>, String), Failure> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url, asked)?;
            let status = response.status();
            if status.is_success() {
                return Ok((response, url));
            }
            if !status.is_redirection() {
                return Err(self.refusal(&url, asked, &response));
            }
            let location = header(&response, &header::LOCATION);
            let Some(next) = location.and_then(|location| resolve(&url, location)) else {
                return Err(bad_answer(&url, "a redirect to no address").into());
            };
            if asked == Asked::Metadata && !self.is_hub(&next) {
                return Ok((response, url));
            }
            url = next;
        }
        Err(bad_answer(&url, format!("more than {MAX_REDIRECTS} redirects")).into())
    }

    fn is_hub(&self, url: &str) -> bool {
        Origin::of(url).as_ref() == Some(&self.origin)
    }

    fn send(&self, url: &str, asked: Asked) -> Result<Response<Body>, Failure> {
        let mut request = match asked {
            Asked::Metadata => self.agent.head(url),
            Asked::Listing | Asked::Content(_) => self.agent.get(url),
        };
        // Sizes and ranges are those of the file, not of what it is packed as.
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Asked::Content(from @ 1..) = asked {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        if let Some(token) = &self.options.token
            && self.is_hub(url)
        {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        tracing::debug!(url = public(url), ?asked, "asking the hub");
        request.call().map_err(|error| failed(url, error))
    }

    fn refusal(&self, url: &str, asked: Asked, response: &Response<Body>) -> Failure {
        let status = response.status();
        let code = header(response, &HeaderName::from_static("x-error-code"));
        let (model, endpoint) = (self.model.clone(), self.options.endpoint.clone());
        let other = Box::new(Error::Status {
            url: public(url).to_owned(),
            status: status.as_u16(),
        });
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.is_hub(url) => {
                Failure::from(Error::Refused {
                    model,
                    endpoint,
                    status: status.as_u16(),
                    token: self.options.token.is_some(),
                })
            }
            // An address that was signed for a time which is over: the hub signs another.
            StatusCode::FORBIDDEN => Failure::Passing(other, Duration::ZERO),
            StatusCode::NOT_FOUND => match (code, asked) {
                (Some("RevisionNotFound"), _) => Error::UnknownRevision { model, endpoint }.into(),
                (Some("RepoNotFound"), _) | (None, Asked::Listing) => {
                    Error::UnknownModel { model, endpoint }.into()
                }
                _ => Failure::Final(other),
            },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Failure::Passing(other, retry_after(response))
            }
            _ if status.is_server_error() => Failure::Passing(other, retry_after(response)),
            _ => Failure::Final(other),
        }
    }
}

fn retry_after(response: &Response<Body>) -> Duration {
    let seconds = header(response, &header::RETRY_AFTER).and_then(|s| s.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(MAX_RETRY_AFTER)
}

/// Whether a failure below HTTP may pass: those of the network may, those of certificates do not.
fn failed(url: &str, error: ureq::Error) -> Failure {
    use ureq::Error as E;
    let failure = broken(url, &error);
    let passing = match &error {
        E::Io(cause) => cause.kind() != io::ErrorKind::InvalidData,
        E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) => true,
        _ => false,
    };
    match failure {
        Failure::Passing(error, _) if !passing => Failure::Final(error),
        other => other,
    }
}

/// An address without its query, in which there may be a signature.
pub(crate) fn public(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Where a redirect from `base` leads.
fn resolve(base: &str, location: &str) -> Option<String> {
    let base: Uri = base.parse().ok()?;
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let next = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        location.to_owned()
    };
    Origin::of(&next).map(|_| next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = Origin::of("https://hub.example/api").unwrap();
        for same in ["https://hub.example", "https://HUB.example:443/x?y"] {
            assert_eq!(Origin::of(same).as_ref(), Some(&hub), "{same}");
        }
        for other in [
            "http://hub.example",
            "https://hub.example:444",
            "https://cdn.hub.example",
            "https://hub.example.evil",
            "https://evil/hub.example",
            "https://hub.example@evil/",
        ] {
            assert_ne!(Origin::of(other).as_ref(), Some(&hub), "{other}");
        }
        for none in [
            "",
            "hub.example",
            "/path",
            "file:///etc/passwd",
            "ftp://hub.example",
        ] {
            assert_eq!(Origin::of(none), None, "{none}");
        }
    }

    #[test]
    fn redirects_are_resolved() {
        let base = "https://hub.example:8443/a/b?c";
        for (location, expected) in [
            ("/x?y=z", Some("https://hub.example:8443/x?y=z")),
            ("//cdn.example/x", Some("https://cdn.example/x")),
            ("http://cdn.example/x", Some("http://cdn.example/x")),
            ("x", None),
            ("", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(resolve(base, location).as_deref(), expected, "{location}");
        }
        assert_eq!(public("https://cdn/x?Signature=secret#y"), "https://cdn/x");
    }
}
