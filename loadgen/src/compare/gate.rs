//! What a comparison must show: `ours.cpu_per_job <= 1.2*relay`.

use std::fmt;

use serde::Serialize;

use crate::abort::Abort;
use crate::server::line::is_label;

/// A metric of a server, possibly of one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) label: String,
    pub(super) phase: Option<String>,
    pub(super) metric: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.phase {
            Some(phase) => write!(f, "{}.{phase}.{}", self.label, self.metric),
            None => write!(f, "{}.{}", self.label, self.metric),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    AtMost,
    AtLeast,
    Less,
    More,
}

#[derive(Clone, Debug, PartialEq)]
enum Right {
    Number(f64),
    Times(f64, Name),
}

/// One requirement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Requirement {
    text: String,
    left: Name,
    relation: Relation,
    right: Right,
}

/// What came of a requirement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    pub(super) requirement: String,
    pub(super) met: bool,
    pub(super) left: f64,
    pub(super) right: f64,
}

impl Requirement {
    /// Compares the medians that `median` finds.
    pub(super) fn judge(&self, median: impl Fn(&Name) -> Result<f64, Abort>) -> Result<Verdict, Abort> {
        let of = |name: &Name| {
            median(name).map_err(|Abort(reason)| Abort(format!("--require '{}': {reason}", self.text)))
        };
        let left = of(&self.left)?;
        let right = match &self.right {
            Right::Number(number) => *number,
            Right::Times(factor, name) => factor * of(name)?,
        };
        let met = match self.relation {
            Relation::AtMost => left <= right,
            Relation::AtLeast => left >= right,
            Relation::Less => left < right,
            Relation::More => left > right,
        };
        Ok(Verdict { requirement: self.text.clone(), met, left, right })
    }

    /// The servers that it names.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        let right = match &self.right {
            Right::Number(_) => None,
            Right::Times(_, name) => Some(name.label.as_str()),
        };
        std::iter::once(self.left.label.as_str()).chain(right)
    }

    /// Whether it is about system calls.
    pub(super) fn wants(&self, metric: &str) -> bool {
        self.left.metric == metric || matches!(&self.right, Right::Times(_, name) if name.metric == metric)
    }
}

/// Reads a requirement.
pub(super) fn requirement(text: &str) -> Result<Requirement, String> {
    const RELATIONS: [(&str, Relation); 4] =
        [("<=", Relation::AtMost), (">=", Relation::AtLeast), ("<", Relation::Less), (">", Relation::More)];
    let (left, relation, right) = RELATIONS
        .into_iter()
        .find_map(|(sign, relation)| text.split_once(sign).map(|(left, right)| (left, relation, right)))
        .ok_or("has no <=, >=, < or >; write LABEL.METRIC <= 1.2*LABEL")?;
    let left = name(left.trim(), None)?;
    let right = right.trim();
    let right = match right.split_once('*') {
        Some((factor, of)) => Right::Times(number(factor.trim())?, name(of.trim(), Some(&left))?),
        None if right.starts_with(|first: char| first.is_ascii_alphabetic()) => {
            Right::Times(1.0, name(right, Some(&left))?)
        }
        None => Right::Number(number(right)?),
    };
    Ok(Requirement { text: text.to_owned(), left, relation, right })
}

/// `LABEL[.PHASE].METRIC`; on the right side the left one's are meant where none are written.
fn name(text: &str, left: Option<&Name>) -> Result<Name, String> {
    let parts: Vec<&str> = text.split('.').collect();
    let named = |label: &str, phase: Option<&str>, metric: &str| Name {
        label: label.to_owned(),
        phase: phase.map(str::to_owned),
        metric: metric.to_owned(),
    };
    let name = match (parts.as_slice(), left) {
        ([label], Some(left)) => named(label, left.phase.as_deref(), &left.metric),
        ([label, metric], left) => named(label, left.and_then(|left| left.phase.as_deref()), metric),
        ([label, phase, metric], _) => named(label, Some(phase), metric),
        _ => return Err(format!("{text:?} is not LABEL.METRIC or LABEL.PHASE.METRIC")),
    };
    if !is_label(&name.label) || name.metric.is_empty() || name.phase.as_deref() == Some("") {
        return Err(format!("{text:?} is not LABEL.METRIC or LABEL.PHASE.METRIC"));
    }
    Ok(name)
}

fn number(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((end, 'k')) => (&text[..end], 1e3),
        Some((end, 'M')) => (&text[..end], 1e6),
        _ => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number * factor),
        _ => Err(format!("{text:?} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> bool {
        let median = |name: &Name| match name.to_string().as_str() {
            "ours.cpu_per_job" => Ok(12.0),
            "relay.cpu_per_job" => Ok(10.0),
            "ours.drain.p99_9" => Ok(500.0),
            "relay.drain.p99_9" => Ok(400.0),
            other => Err(Abort(format!("no {other}"))),
        };
        requirement(text).unwrap().judge(median).unwrap().met
    }

    #[test]
    fn requirements_hold_or_do_not() {
        assert!(judged("ours.cpu_per_job <= 1.2*relay"));
        assert!(!judged("ours.cpu_per_job < 1.2 * relay"));
        assert!(judged("ours.cpu_per_job>=0.012k") && judged("ours.cpu_per_job > relay.cpu_per_job"));
        assert!(!judged("ours.drain.p99_9 <= 1.2*relay") && judged("ours.drain.p99_9 <= 1.3*relay.p99_9"));
    }

    #[test]
    fn what_is_no_requirement_is_refused() {
        for bad in [
            "ours",
            "ours <= 1",
            "ours.a = 1",
            "ours.a <= x*relay",
            "ours.a <= 1.2.3",
            "1.a <= 2",
            "a..b <= 1",
        ] {
            assert!(requirement(bad).is_err(), "{bad}");
        }
        let error = requirement("ours.nothing <= 1").unwrap().judge(|_| Err(Abort("none".to_owned())));
        assert!(error.unwrap_err().0.contains("ours.nothing <= 1"));
    }
}
