//! Whose fault an error is.

use gamut_engine::{Error, SubmitError};
use std::error::Error as _;
use std::io::{self, ErrorKind};

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request's, which is answered with an error of this code.
    Request(&'static str),
    /// Nobody's: at another time it may work. The request is left unanswered.
    Moment,
    /// The engine has too much to do.
    Overload,
    /// The machine's: no other request would be answered either.
    Machine,
}

/// What is wrong with the line itself.
pub(crate) const INVALID_LINE: &str = "invalid_line";
/// What is wrong with the request.
pub(crate) const INVALID_REQUEST: &str = "invalid_request";
/// What is wrong with its audio.
pub(super) const INVALID_AUDIO: &str = "invalid_audio";
/// The model has no answer.
pub(super) const NO_TOKEN: &str = "no_token";

impl Fault {
    /// Of a request that the engine did not take.
    pub(super) fn of_submission(error: &SubmitError) -> Fault {
        match error {
            SubmitError::Overloaded { .. } => Fault::Overload,
            // Parameters out of their range: nothing was computed yet.
            SubmitError::Invalid(Error::Device(_)) => Fault::Request(INVALID_REQUEST),
            SubmitError::Invalid(error) => Fault::of(error),
            _ => Fault::Machine,
        }
    }

    /// Of a request that was under way.
    pub(super) fn of(error: &Error) -> Fault {
        match error {
            Error::Submit(error) => Fault::of_submission(error),
            Error::Device(_) | Error::ShutDown => Fault::Machine,
            // Of one request's decoder, perhaps.
            Error::Panicked | Error::AudioChanged => Fault::Moment,
            error if is_passing(error) => Fault::Moment,
            Error::Audio(_)
            | Error::EmptyClip
            | Error::NotFinite { .. }
            | Error::ClipTooLong { .. } => Fault::Request(INVALID_AUDIO),
            Error::NoToken(_) => Fault::Request(NO_TOKEN),
            _ => Fault::Request(INVALID_REQUEST),
        }
    }
}

/// Whether the system could not read a file for a reason other than the file's name and rights.
fn is_passing(error: &Error) -> bool {
    let reason = error.source().and_then(|e| e.downcast_ref::<io::Error>());
    reason.is_some_and(|reason| {
        !matches!(
            reason.kind(),
            ErrorKind::NotFound
                | ErrorKind::PermissionDenied
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::InvalidInput
                | ErrorKind::InvalidFilename
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gamut_engine::{AudioInput, Excerpt};
    use std::io::Read;

    /// Fails to read for a reason.
    struct Broken(ErrorKind);

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_now_is_no_answer() {
        let fault = |kind| {
            let read = AudioInput::from_reader("song", Broken(kind), Excerpt::default());
            Fault::of(&read.unwrap_err())
        };
        for kind in [ErrorKind::NotFound, ErrorKind::PermissionDenied] {
            assert_eq!(fault(kind), Fault::Request(INVALID_AUDIO), "{kind}");
        }
        for kind in [ErrorKind::StaleNetworkFileHandle, ErrorKind::TimedOut] {
            assert_eq!(fault(kind), Fault::Moment, "{kind}");
        }
    }

    #[test]
    fn faults_of_the_engine_are_no_answers() {
        let device = || gamut_kernels::Error::OutOfMemory {
            what: "a test",
            bytes: 1,
        };
        assert_eq!(Fault::of(&device().into()), Fault::Machine);
        assert_eq!(Fault::of(&Error::ShutDown), Fault::Machine);
        assert_eq!(Fault::of(&SubmitError::ShutDown.into()), Fault::Machine);
        assert_eq!(Fault::of(&Error::Panicked), Fault::Moment);
        let full = || SubmitError::Overloaded { queued: 1, most: 1 };
        assert_eq!(Fault::of_submission(&full()), Fault::Overload);
        assert_eq!(Fault::of(&full().into()), Fault::Overload);
        assert_eq!(
            Fault::of(&Error::EmptyPrompt),
            Fault::Request(INVALID_REQUEST)
        );
        assert_eq!(Fault::of(&Error::EmptyClip), Fault::Request(INVALID_AUDIO));
        // A row of logits, in a step that was as good as any.
        assert_eq!(
            Fault::of(&Error::NoToken(device())),
            Fault::Request(NO_TOKEN)
        );
    }
}
