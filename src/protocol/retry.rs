//! Which jobs are tried again, how often and when, as operators write and read it.
//!
//! ```text
//! attempts=5,on=lost,timeout,fail,backoff=1s,max-backoff=5m,then=drop
//! ```
//!
//! is one word, so that it can stand in an admin line of five words and in a
//! config file without quotes.

use std::fmt;
use std::str::FromStr;

/// Stands for every function without a policy of its own.
pub const EVERY_FUNCTION: &[u8] = b"*";
/// The longest time between two attempts, unless told otherwise.
const MAX_BACKOFF_S: u32 = 3600;
/// Written where there is no policy.
const OFF: &str = "off";

/// What made a run of a job come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its worker's connection is gone, or the worker gave the job up.
    Lost,
    /// Its worker took longer than the function's timeout.
    Timeout,
    /// WORK_FAIL
    Fail,
    /// WORK_EXCEPTION
    Exception,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Timeout, Self::Fail, Self::Exception];

    /// Its name in lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Fail => "fail",
            Self::Exception => "exception",
        }
    }

    /// Whether the worker itself said so.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Fail | Self::Exception)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// After what a job is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Causes {
    /// A lost worker.
    pub lost: bool,
    /// A timeout.
    pub timeout: bool,
    /// WORK_FAIL and WORK_EXCEPTION, of background jobs.
    pub fail: bool,
}

impl Causes {
    /// Whether this is one of them.
    #[must_use]
    pub const fn has(self, cause: Cause) -> bool {
        match cause {
            Cause::Lost => self.lost,
            Cause::Timeout => self.timeout,
            Cause::Fail | Cause::Exception => self.fail,
        }
    }
}

/// What becomes of a background job after its last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is kept as a dead letter.
    Dead,
    /// It is forgotten.
    Drop,
}

/// How the jobs of a function are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a job is run at most; at least once.
    pub attempts: u16,
    /// After what.
    pub on: Causes,
    /// Seconds before the second attempt; twice as many before each that follows.
    pub backoff_s: u32,
    /// But never more than these.
    pub max_backoff_s: u32,
    /// What becomes of a background job after that.
    pub then: Then,
}

impl RetryPolicy {
    /// Seconds to wait after so many attempts that came to nothing.
    #[must_use]
    pub fn wait_s(&self, attempts: u16) -> u32 {
        let doublings = u32::from(attempts.saturating_sub(1)).min(32);
        let wait_s = u64::from(self.backoff_s) << doublings;
        u32::try_from(wait_s).unwrap_or(u32::MAX).min(self.max_backoff_s)
    }
}

impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempts, on, backoff_s, max_backoff_s, then } = self;
        let causes = [(on.lost, "lost"), (on.timeout, "timeout"), (on.fail, "fail")];
        let causes: Vec<&str> = causes.iter().filter(|(is_on, _)| *is_on).map(|&(_, name)| name).collect();
        write!(f, "attempts={attempts},on={}", causes.join(","))?;
        if *backoff_s > 0 {
            write!(f, ",backoff={backoff_s}s,max-backoff={max_backoff_s}s")?;
        }
        f.write_str(match then {
            Then::Dead => ",then=dead",
            Then::Drop => ",then=drop",
        })
    }
}

/// Why a text is no policy, in words that say what would be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPolicy(String);

impl fmt::Display for BadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPolicy {}

/// What a text says so far.
#[derive(Default)]
struct Given {
    attempts: Option<u16>,
    on: Option<Causes>,
    backoff_s: Option<u32>,
    max_backoff_s: Option<u32>,
    then: Option<Then>,
}

impl FromStr for RetryPolicy {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        let mut given = Given::default();
        let mut in_causes = false;
        for word in text.split(',') {
            match word.split_once('=') {
                Some((setting, value)) => {
                    in_causes = setting == "on";
                    given.take(setting, value)?;
                }
                None if in_causes => given.add_cause(word)?,
                None => return Err(unknown(word)),
            }
        }
        given.policy()
    }
}

impl Given {
    fn take(&mut self, setting: &str, value: &str) -> Result<(), BadPolicy> {
        let again = match setting {
            "attempts" => self.attempts.replace(attempts(value)?).is_some(),
            "backoff" => self.backoff_s.replace(seconds(setting, value)?).is_some(),
            "max-backoff" => self.max_backoff_s.replace(seconds(setting, value)?).is_some(),
            "then" => self.then.replace(then(value)?).is_some(),
            "on" => {
                let before = self.on.replace(Causes { lost: false, timeout: false, fail: false });
                self.add_cause(value)?;
                before.is_some()
            }
            _ => return Err(unknown(setting)),
        };
        if again { Err(BadPolicy(format!("{setting} is given twice"))) } else { Ok(()) }
    }

    fn add_cause(&mut self, name: &str) -> Result<(), BadPolicy> {
        let on = self.on.as_mut().expect("only what stands behind on= is a cause");
        match name {
            "lost" => on.lost = true,
            "timeout" => on.timeout = true,
            "fail" => on.fail = true,
            _ => return Err(BadPolicy(format!("on='{name}': it is some of lost, timeout and fail"))),
        }
        Ok(())
    }

    fn policy(self) -> Result<RetryPolicy, BadPolicy> {
        let Some(attempts) = self.attempts else {
            return Err(BadPolicy("attempts=N is missing: how often a job is run at most".to_owned()));
        };
        let backoff_s = self.backoff_s.unwrap_or(0);
        let max_backoff_s = match self.max_backoff_s {
            Some(max_s) if max_s < backoff_s || backoff_s == 0 => {
                let text = "max-backoff must be at least as long as backoff, which must be given too";
                return Err(BadPolicy(text.to_owned()));
            }
            Some(max_s) => max_s,
            None => MAX_BACKOFF_S.max(backoff_s),
        };
        let on = self.on.unwrap_or(Causes { lost: true, timeout: true, fail: false });
        Ok(RetryPolicy { attempts, on, backoff_s, max_backoff_s, then: self.then.unwrap_or(Then::Dead) })
    }
}

fn unknown(word: &str) -> BadPolicy {
    BadPolicy(format!(
        "'{word}' is no setting: a policy is off, or some of attempts=N, on=lost,timeout,fail, backoff=TIME, \
         max-backoff=TIME and then=dead or then=drop, with commas between"
    ))
}

fn attempts(value: &str) -> Result<u16, BadPolicy> {
    let number = digits(value).and_then(|number| u16::try_from(number).ok()).filter(|&number| number > 0);
    number.ok_or_else(|| BadPolicy(format!("attempts='{value}': it is a number between 1 and {}", u16::MAX)))
}

fn then(value: &str) -> Result<Then, BadPolicy> {
    match value {
        "dead" => Ok(Then::Dead),
        "drop" => Ok(Then::Drop),
        _ => Err(BadPolicy(format!("then='{value}': it is dead or drop"))),
    }
}

/// Whole seconds: jobs wait for a second of the calendar.
fn seconds(setting: &str, value: &str) -> Result<u32, BadPolicy> {
    let (number, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
    let factor = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = digits(number).zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    seconds.ok_or_else(|| {
        BadPolicy(format!(
            "{setting}='{value}': it is whole seconds, or a number with s, m, h or d such as 5m"
        ))
    })
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads a policy, or `off`.
///
/// # Errors
/// When it is neither.
pub fn parse(text: &str) -> Result<Option<RetryPolicy>, BadPolicy> {
    if text == OFF { Ok(None) } else { text.parse().map(Some) }
}

/// Writes a policy, or `off`, as [`parse`] reads it.
#[must_use]
pub fn show(policy: Option<RetryPolicy>) -> String {
    policy.map_or_else(|| OFF.to_owned(), |policy| policy.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_written_in_one_word() {
        let cases = [
            ("attempts=5", "attempts=5,on=lost,timeout,then=dead"),
            ("attempts=1,on=fail,then=drop", "attempts=1,on=fail,then=drop"),
            (
                "on=fail,lost,timeout,backoff=2m,attempts=3",
                "attempts=3,on=lost,timeout,fail,backoff=120s,max-backoff=3600s,then=dead",
            ),
            (
                "attempts=65535,on=timeout,then=dead,max-backoff=1d,backoff=1",
                "attempts=65535,on=timeout,backoff=1s,max-backoff=86400s,then=dead",
            ),
            ("attempts=2,backoff=2h", "attempts=2,on=lost,timeout,backoff=7200s,max-backoff=7200s,then=dead"),
            ("off", "off"),
        ];
        for (text, written) in cases {
            let policy = parse(text).unwrap();
            assert_eq!(show(policy), written, "{text}");
            assert_eq!(parse(written), Ok(policy), "{text}");
        }
    }

    #[test]
    fn what_is_no_policy_is_told_with_what_is_allowed() {
        let cases = [
            ("", "is no setting: a policy is off, or some of attempts=N"),
            ("5", "'5' is no setting"),
            ("attempts=5,tries=3", "'tries' is no setting"),
            ("attempts=0", "between 1 and 65535"),
            ("attempts=+1", "between 1 and 65535"),
            ("attempts=65536", "between 1 and 65535"),
            ("attempts=", "between 1 and 65535"),
            ("on=lost", "attempts=N is missing"),
            ("attempts=2,attempts=3", "attempts is given twice"),
            ("attempts=2,on=lost,on=fail", "on is given twice"),
            ("attempts=2,on=", "some of lost, timeout and fail"),
            ("attempts=2,on=exception", "some of lost, timeout and fail"),
            ("attempts=2,on=lost,", "some of lost, timeout and fail"),
            ("attempts=2,backoff=500ms", "whole seconds"),
            ("attempts=2,backoff=99999999999", "whole seconds"),
            ("attempts=2,backoff=99999999h", "whole seconds"),
            ("attempts=2,max-backoff=5m", "at least as long as backoff"),
            ("attempts=2,backoff=5m,max-backoff=1m", "at least as long as backoff"),
            ("attempts=2,then=retry", "it is dead or drop"),
            ("OFF", "'OFF' is no setting"),
        ];
        for (text, told) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let policy: RetryPolicy = "attempts=9,backoff=3s,max-backoff=20s".parse().unwrap();
        let waits: Vec<u32> = (1..=5).map(|attempts| policy.wait_s(attempts)).collect();
        assert_eq!(waits, [3, 6, 12, 20, 20]);
        assert_eq!(policy.wait_s(u16::MAX), 20);
        let long = RetryPolicy { backoff_s: u32::MAX, max_backoff_s: u32::MAX, ..policy };
        assert_eq!(long.wait_s(u16::MAX), u32::MAX);
        assert_eq!(RetryPolicy { backoff_s: 0, ..policy }.wait_s(7), 0);
    }
}
