//! Why a run ended before its time.

/// The reason, in words for a person.
#[derive(Debug)]
pub(crate) struct Abort(pub(crate) String);

impl From<std::io::Error> for Abort {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}
