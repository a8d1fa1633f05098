//! Words to options, and clap's complaints to gearmand's.
//!
//! gearmand quotes the whole word that it does not understand (`-dRz`, not `-z`)
//! and always names an option by its long name, so both are looked up here.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

/// Why the options were refused; the text has gearmand's words where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub message: String,
    /// The option or word that it is about.
    pub about: String,
    /// Something to say to a person on top of gearmand's message.
    pub hint: Option<String>,
}

impl Refused {
    /// A refusal that is about `option`, a long name without dashes.
    pub(super) fn option(option: &str, message: String) -> Self {
        Self { message, about: format!("--{option}"), hint: None }
    }
}

/// Splits `words` into the options of `command`.
pub(super) fn parse(command: Command, words: &[OsString]) -> Result<ArgMatches, Refused> {
    let matches = command.try_get_matches_from(words).map_err(|error| refusal(&error, words))?;
    // An empty word is a value, but nothing behind an equal sign is a mistake.
    for option in words.iter().filter_map(|word| word.to_str()?.strip_prefix("--")?.strip_suffix('=')) {
        let mut values = matches.try_get_many::<OsString>(option).ok().flatten().into_iter().flatten();
        if values.any(|value| value.is_empty()) {
            return Err(Refused::option(option, follow_immediately(option)));
        }
    }
    Ok(matches)
}

fn refusal(error: &clap::Error, words: &[OsString]) -> Refused {
    let about = argument(error);
    let option = about.trim_start_matches("--");
    let message = match error.kind() {
        ErrorKind::UnknownArgument => return unrecognised(&about, suggestion(error), words),
        ErrorKind::ArgumentConflict => format!("option '--{option}' cannot be specified more than once"),
        ErrorKind::TooManyValues if empty_behind_equals(option, words) => follow_immediately(option),
        ErrorKind::TooManyValues => format!("option '--{option}' does not take any arguments"),
        // No value parser can fail, so what is invalid is missing.
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!("the required argument for option '--{option}' is missing")
        }
        _ => error.to_string().trim_end().to_owned(),
    };
    Refused::option(option, message)
}

fn unrecognised(part: &str, suggestion: Option<String>, words: &[OsString]) -> Refused {
    let whole = words.iter().find(|word| is_part_of(part, word));
    let word = whole.map_or(part.into(), |word| word.to_string_lossy());
    let hint = suggestion.map(|name| format!("did you mean '{name}'? --help lists every option"));
    Refused {
        message: if word.is_empty() {
            "unrecognised option".to_owned()
        } else {
            format!("unrecognised option '{word}'")
        },
        about: word.into_owned(),
        hint: hint.or_else(|| Some("--help lists every option".to_owned())),
    }
}

/// Whether clap may have found `part` in `word`.
fn is_part_of(part: &str, word: &OsStr) -> bool {
    let word = word.to_string_lossy();
    if word == part {
        return true;
    }
    match part.strip_prefix("--") {
        Some(_) => word.strip_prefix(part).is_some_and(|rest| rest.starts_with('=')),
        None => part.strip_prefix('-').is_some_and(|letter| {
            !letter.is_empty() && word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
        }),
    }
}

/// The argument that an error is about: `--port`, `-z` or a word.
fn argument(error: &clap::Error) -> String {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => name.split([' ', '=']).next().unwrap_or(name).to_owned(),
        Some(ContextValue::Strings(names)) => names.join(" "),
        _ => String::new(),
    }
}

fn suggestion(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(name)) => Some(name.clone()),
        _ => None,
    }
}

fn empty_behind_equals(option: &str, words: &[OsString]) -> bool {
    words.iter().any(|word| word.to_str().is_some_and(|word| word == format!("--{option}=")))
}

fn follow_immediately(option: &str) -> String {
    format!("the argument for option '--{option}' should follow immediately after the equal sign")
}
