//! How a handler ends a connection: with a code and a reason, or by an error that it did not expect.
//!
//! The Close frame is written by the connection.

use std::error::Error;
use std::fmt;

use crate::ws::CloseCode;

/// What a handler returns: `Ok(())`, or why its connection is to be closed.
pub type Outcome = Result<(), Failure>;

/// Why a handler closes its connection. Any error becomes one by `?`: the connection is closed with 1011, and one line is
/// logged with the error and its causes. [`Failure::close`] closes with a code and a reason of the handler's own, and logs
/// nothing.
///
/// ```
/// use fanfare::app::{CloseCode, Failure, Outcome};
///
/// fn check(step: &str) -> Outcome {
///     let steps: u32 = step.parse()?;
///     match steps {
///         0..10 => Ok(()),
///         _ => Err(Failure::close(CloseCode::POLICY_VIOLATION, "at most nine steps")),
///     }
/// }
/// assert!(check("3").is_ok());
/// assert_eq!(check("12").unwrap_err().to_string(), "1008: at most nine steps");
/// assert!(check("x").unwrap_err().to_string().contains("invalid digit"));
/// ```
pub struct Failure(Why);

enum Why {
    Close(CloseCode, String),
    /// The error with its causes.
    Error(String),
}

impl Failure {
    /// Closes with this code and this reason, of which the peer is sent the first 123 bytes.
    #[must_use]
    pub fn close(code: CloseCode, reason: impl Into<String>) -> Self {
        Self(Why::Close(code, reason.into()))
    }

    /// The code and the reason that the peer is sent: of an error 1011, and nothing that is in it.
    pub(crate) fn told(&self) -> (CloseCode, &str) {
        match &self.0 {
            Why::Close(code, reason) => (*code, reason),
            Why::Error(_) => (CloseCode::INTERNAL_ERROR, "the server failed to handle this"),
        }
    }

    /// The error that is to be logged, if it is one.
    pub(crate) fn error(&self) -> Option<&str> {
        match &self.0 {
            Why::Close(..) => None,
            Why::Error(error) => Some(error),
        }
    }
}

/// The text is taken at once, so that errors that borrow or cannot be sent to threads are taken too.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self(Why::Error(text))
    }
}

/// Not an `Error`, so that every error can become one.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Close(code, reason) => write!(f, "{}: {reason}", code.as_u16()),
            Why::Error(error) => f.write_str(error),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn an_error_is_told_as_1011_without_its_text_and_is_logged_with_its_causes() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("no number")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let failure = Failure::from(Outer("x".parse::<u8>().unwrap_err()));
        assert_eq!(failure.told().0, CloseCode::INTERNAL_ERROR);
        assert!(!failure.told().1.contains("number"));
        assert_eq!(failure.error(), Some("no number: invalid digit found in string"));
    }

    #[test]
    fn an_error_that_borrows_becomes_a_failure_by_a_question_mark() {
        fn use_it(shared: &Mutex<u8>) -> Outcome {
            *shared.lock()? += 1;
            Ok(())
        }
        assert!(use_it(&Mutex::new(0)).is_ok());
    }

    #[test]
    fn a_close_has_the_handlers_own_code_and_reason_and_is_not_logged() {
        let failure = Failure::close(CloseCode::POLICY_VIOLATION, "say left or right");
        assert_eq!(failure.told(), (CloseCode::POLICY_VIOLATION, "say left or right"));
        assert_eq!(failure.error(), None);
    }
}
