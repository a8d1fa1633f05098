//! The parts of a result, put together.

use super::error::ClientError;
use super::pending::Update;

/// What a job's worker has sent so far.
#[derive(Debug, Default)]
pub(super) struct Gathered(Vec<u8>);

impl Gathered {
    /// Takes in an update; gives all parts in a row once it was the last.
    ///
    /// # Errors
    /// When there is more than `limit` bytes of a result that has not ended.
    pub(super) fn add(&mut self, update: Update, limit: usize) -> Result<Option<Vec<u8>>, ClientError> {
        match update {
            Update::Data(data) if self.0.len() + data.len() > limit => {
                return Err(ClientError::Unread { limit });
            }
            Update::Data(data) => self.0.extend_from_slice(&data),
            Update::Restarted => self.0.clear(),
            Update::Complete(last) if self.0.is_empty() => return Ok(Some(last)),
            Update::Complete(last) => {
                self.0.extend_from_slice(&last);
                return Ok(Some(std::mem::take(&mut self.0)));
            }
            Update::Created(_) | Update::Warning(_) | Update::Progress { .. } => {}
        }
        Ok(None)
    }
}
