//! A server as the command line names it: `LABEL=COMMAND LINE`.

use std::path::Path;

use crate::abort::Abort;

/// A server to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) label: String,
    /// Set for the program, from words like `NAME=VALUE` in front of it.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
}

/// What a program is told by itself, and how it is asked whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// `relay`: this very program.
    Relay,
    /// Takes `--listen` and `--port`.
    Gearshard,
    /// The same, and refuses to be root.
    Gearmand,
    /// Speaks another protocol, and has `{port}` in its arguments.
    Neighbour,
    /// A Gearman server that has `{port}` in its arguments.
    Other,
}

impl Line {
    /// All of it but the label.
    pub(crate) fn words(&self) -> Vec<String> {
        let environment = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
        environment.chain([self.program.clone()]).chain(self.arguments.iter().cloned()).collect()
    }

    /// What the program is, by its name.
    pub(crate) fn known(&self) -> Known {
        match Path::new(&self.program).file_name().and_then(|name| name.to_str()) {
            Some("relay") => Known::Relay,
            Some("gearshard" | "gearman-job-server") => Known::Gearshard,
            Some("gearmand") => Known::Gearmand,
            Some("nats-server" | "redis-server" | "beanstalkd") => Known::Neighbour,
            _ => Known::Other,
        }
    }

    /// The program and its arguments, listening on `port`.
    pub(crate) fn at(&self, port: u16, root: bool) -> Result<(String, Vec<String>), Abort> {
        let placed = self.arguments.iter().any(|word| word.contains("{port}"));
        let mut arguments: Vec<String> =
            self.arguments.iter().map(|word| word.replace("{port}", &port.to_string())).collect();
        let mut program = self.program.clone();
        match self.known() {
            Known::Relay => {
                let this = std::env::current_exe()?;
                program = this.to_string_lossy().into_owned();
                arguments.insert(0, "relay".to_owned());
                if !placed {
                    arguments.push(format!("--listen=127.0.0.1:{port}"));
                }
            }
            Known::Gearshard | Known::Gearmand => {
                if !placed {
                    arguments.extend(["--listen=127.0.0.1".to_owned(), format!("--port={port}")]);
                }
                self.gearmands(&mut arguments, root);
            }
            Known::Neighbour | Known::Other if !placed => {
                return Err(Abort(format!(
                    "server {}: where does {} listen? Write {{port}} where its port belongs, \
                     such as --port={{port}} (only gearshard, gearmand and relay are told by themselves)",
                    self.label, self.program
                )));
            }
            Known::Neighbour | Known::Other => {}
        }
        Ok((program, arguments))
    }

    fn gearmands(&self, arguments: &mut Vec<String>, root: bool) {
        let given = |short: &str, long: &str| {
            self.arguments.iter().any(|word| word.starts_with(short) || word.starts_with(long))
        };
        if !given("-l", "--log-file") {
            arguments.push("--log-file=stderr".to_owned());
        }
        if !given("-P", "--pid-file") {
            arguments.push("--pid-file=server.pid".to_owned());
        }
        if root && self.known() == Known::Gearmand && !given("-u", "--user") {
            arguments.push("--user=nobody".to_owned());
        }
    }
}

/// Reads `LABEL=COMMAND LINE`.
pub(crate) fn line(text: &str) -> Result<Line, String> {
    let (label, command) = labelled(text)?;
    of_words(label, command)
}

/// Reads a command line, of which the program's name is the label.
pub(crate) fn unlabelled(text: &str) -> Result<Line, String> {
    let mut line = of_words(String::new(), words(text)?)?;
    let name = Path::new(&line.program).file_name().and_then(|name| name.to_str());
    line.label = name.unwrap_or(&line.program).to_owned();
    Ok(line)
}

fn of_words(label: String, command: Vec<String>) -> Result<Line, String> {
    let mut words = command.into_iter().peekable();
    let mut environment = Vec::new();
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        environment.push((name.to_owned(), value.to_owned()));
        words.next();
    }
    let program = words.next().ok_or("has no program")?;
    Ok(Line { label, environment, program, arguments: words.collect() })
}

/// Reads `LABEL=WORDS`.
pub(crate) fn labelled(text: &str) -> Result<(String, Vec<String>), String> {
    let (label, rest) = text.split_once('=').ok_or("has no label; write LABEL=COMMAND LINE")?;
    if !is_label(label) {
        return Err("a label is a letter, then letters, digits, - or _".to_owned());
    }
    Ok((label.to_owned(), words(rest)?))
}

/// Whether a requirement can name it.
pub(crate) fn is_label(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'))
}

/// Splits as a shell does, with quotes and without anything else.
pub(crate) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if matches!(letter, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_a_shell_would() {
        let line = line("c=A=1 gearmand -t 4 'a b' \"\"").unwrap();
        assert_eq!(line.environment, [("A".to_owned(), "1".to_owned())]);
        assert_eq!((line.label.as_str(), line.program.as_str()), ("c", "gearmand"));
        assert_eq!(line.arguments, ["-t", "4", "a b", ""]);
        for bad in ["gearmand", "c=", "c= A=1", "1c=x", "c='x"] {
            assert!(super::line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn known_programs_are_told_where_to_listen_and_others_must_say() {
        let at = |text: &str, root| line(text).unwrap().at(77, root);
        let (_, words) = at("c=/usr/sbin/gearmand -t 4", true).unwrap();
        assert!(words.contains(&"--port=77".to_owned()) && words.contains(&"--user=nobody".to_owned()));
        let (_, words) = at("o=gearshard -p {port} -u x", true).unwrap();
        assert_eq!(words[..4], ["-p", "77", "-u", "x"]);
        assert!(!words.iter().any(|word| word.starts_with("--listen") || word.starts_with("--user")));
        assert!(at("x=perl server.pl", false).is_err());
        assert!(at("n=nats-server -p {port}", false).is_ok());
    }
}
