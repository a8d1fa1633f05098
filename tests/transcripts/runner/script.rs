//! A transcript as it is written: text to steps.
//!
//! The format is explained in `tests/transcripts/README.md`. Knows the packet
//! table, and neither sockets nor servers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gearshard::protocol::packet::{Command, Magic};

use super::template::Template;
use crate::support::Kind;

/// A server as transcripts spell it.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Gearmand => "gearmand",
        Kind::Gearshard => "gearshard",
    }
}

fn kind_named(name: &str) -> Result<Kind, String> {
    let found = [Kind::Gearmand, Kind::Gearshard].into_iter().find(|&kind| kind_name(kind) == name);
    found.ok_or_else(|| format!("no server is called {name}; there are gearmand and gearshard"))
}

/// One file.
#[derive(Debug)]
pub(crate) struct Script {
    /// Where it is, from `tests/transcripts` on.
    pub(crate) path: PathBuf,
    /// The rule, in a sentence, with its section.
    pub(crate) title: String,
    /// Whether it pins a defect of the reference that is not copied.
    pub(crate) defect: bool,
    /// Section of the specification: `5` of `5.1`.
    pub(crate) section: u32,
    /// Further arguments of the server.
    pub(crate) arguments: Vec<String>,
    /// Whether `--worker-wakeup` is left to the server.
    pub(crate) default_wakeup: bool,
    /// Whether it needs a server of its own.
    pub(crate) alone: bool,
    /// The server that it does not run against, and why.
    pub(crate) skip: Option<(Kind, String)>,
    /// What happens.
    pub(crate) steps: Vec<Step>,
}

/// One line of a script.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its number in the file.
    pub(crate) line: usize,
    /// As written.
    pub(crate) text: String,
    /// What it means.
    pub(crate) action: Action,
}

/// What a line does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Sends; with `hold`, in one write with what this connection sends next.
    Send { conn: String, what: Sent, hold: bool },
    /// Receives.
    Expect { conn: String, what: Expected },
    /// Receives it, or not.
    Maybe { conn: String, what: Expected },
    /// One of these receives it; which, is the server's choice.
    OneOf { conns: Vec<String>, what: Expected },
    /// Sends, and again until the answer is the expected one.
    Eventually { conn: String, send: Sent, expect: Expected },
    /// Hangs up.
    Close { conn: String },
    /// Lets time pass.
    Wait(Duration),
    /// Steps for one of the servers.
    Only { kind: Kind, steps: Vec<Step> },
}

/// Something to send.
#[derive(Debug)]
pub(crate) enum Sent {
    /// A binary packet.
    Packet { magic: Magic, number: u32, body: Template },
    /// Bytes as they are: a text line or something broken.
    Bytes(Template),
}

/// Something to receive.
#[derive(Debug)]
pub(crate) enum Expected {
    /// A binary packet.
    Packet { command: Command, body: Template },
    /// Text lines, byte for byte.
    Text(Template),
    /// An admin list up to its dot; of it the lines that speak of this script.
    List(Vec<Template>),
    /// Nothing has come, and nothing is on its way.
    Nothing,
    /// The server has hung up.
    Closed,
}

impl Expected {
    /// Whether it goes on to the line that is a dot.
    pub(crate) fn is_list(&self) -> bool {
        match self {
            Self::List(_) => true,
            Self::Text(template) => template.ends_with(b"\n.\n") || template.is(b".\n"),
            Self::Packet { .. } | Self::Nothing | Self::Closed => false,
        }
    }
}

/// A line of the file, without its indentation.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

impl Script {
    /// Reads the text of the file at `path`.
    ///
    /// Errors name the line.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let title = text.lines().next().unwrap_or_default();
        let (defect, section) = parse_title(title)?;
        let mut script = Self {
            path: path.to_owned(),
            title: title.trim_start_matches("# ").to_owned(),
            defect,
            section,
            arguments: Vec::new(),
            default_wakeup: false,
            alone: false,
            skip: None,
            steps: Vec::new(),
        };
        let lines = significant_lines(text);
        let headers =
            lines.iter().take_while(|line| script_header(&mut script, line.text).unwrap_or(false)).count();
        let mut rest = &lines[headers..];
        if let Some(line) = rest.first() {
            // Once more, for the error that ended the headers.
            script_header(&mut script, line.text).map_err(|error| at(line, &error))?;
        }
        script.steps = parse_steps(&mut rest, 0)?;
        match rest.first() {
            Some(line) => Err(at(line, "indented for no reason")),
            None => Ok(script),
        }
    }

    /// All steps, those for one server included.
    pub(crate) fn all_steps(&self) -> Vec<&Step> {
        fn collect<'a>(steps: &'a [Step], all: &mut Vec<&'a Step>) {
            for step in steps {
                all.push(step);
                if let Action::Only { steps, .. } = &step.action {
                    collect(steps, all);
                }
            }
        }
        let mut all = Vec::new();
        collect(&self.steps, &mut all);
        all
    }
}

fn at(line: &Line<'_>, error: &str) -> String {
    format!("line {}: {error}: {}", line.number, line.text)
}

// `# Spec 5.1: sentence.` or `# Defect 22.7: sentence.`
fn parse_title(title: &str) -> Result<(bool, u32), String> {
    let wanted = || format!("line 1: not a title like `# Spec 5.1: What holds.`: {title}");
    let (what, sentence) =
        title.strip_prefix("# ").and_then(|title| title.split_once(": ")).ok_or_else(wanted)?;
    let (kind, section) = what.split_once(' ').ok_or_else(wanted)?;
    let number = section.split('.').next().and_then(|number| number.parse().ok()).ok_or_else(wanted)?;
    if sentence.trim().is_empty() {
        return Err(wanted());
    }
    match kind {
        "Spec" => Ok((false, number)),
        "Defect" => Ok((true, number)),
        _ => Err(wanted()),
    }
}

fn significant_lines(text: &str) -> Vec<Line<'_>> {
    text.lines()
        .enumerate()
        .map(|(index, line)| Line {
            number: index + 1,
            indent: line.len() - line.trim_start_matches(' ').len(),
            text: line.trim(),
        })
        .filter(|line| !line.text.is_empty() && !line.text.starts_with('#'))
        .collect()
}

// Takes a header line into `script`; false when it is a step.
fn script_header(script: &mut Script, text: &str) -> Result<bool, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "start" => script.arguments = rest.split_whitespace().map(str::to_owned).collect(),
        "default-wakeup" => script.default_wakeup = true,
        "alone" => script.alone = true,
        "skip" => script.skip = Some(parse_because(rest)?),
        _ => return Ok(false),
    }
    Ok(true)
}

// `gearmand, because it hangs`
fn parse_because(text: &str) -> Result<(Kind, String), String> {
    let (kind, because) = text.split_once(", because ").ok_or("say `..., because ...`")?;
    if because.split_whitespace().count() < 3 {
        return Err("a reason is a sentence".to_owned());
    }
    Ok((kind_named(kind)?, because.to_owned()))
}

fn parse_steps(lines: &mut &[Line<'_>], indent: usize) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    while let Some(&line) = lines.first() {
        if line.indent < indent {
            break;
        }
        if line.indent > indent {
            return Err(at(&line, "indented for no reason"));
        }
        *lines = &lines[1..];
        let action = parse_action(&line, lines).map_err(|error| at(&line, &error))?;
        steps.push(Step { line: line.number, text: line.text.to_owned(), action });
    }
    Ok(steps)
}

fn parse_action(line: &Line<'_>, lines: &mut &[Line<'_>]) -> Result<Action, String> {
    let (word, rest) = line.text.split_once(' ').unwrap_or((line.text, ""));
    match word {
        "close" => return Ok(Action::Close { conn: conn_name(rest)? }),
        "wait" => {
            let ms = rest.strip_suffix("ms").and_then(|ms| ms.parse().ok()).ok_or("how many ms?")?;
            return Ok(Action::Wait(Duration::from_millis(ms)));
        }
        "only" => {
            let (kind, _) = parse_because(rest.strip_suffix(':').ok_or("a block opens with `:`")?)?;
            let indent = lines.first().map_or(0, |next| next.indent);
            if indent <= line.indent {
                return Err("nothing in the block".to_owned());
            }
            return Ok(Action::Only { kind, steps: parse_steps(lines, indent)? });
        }
        "eventually" => return parse_eventually(line, rest, lines),
        "one" => return parse_one_of(line, lines),
        _ => {}
    }
    if let Some(conn) = word.strip_suffix("+>") {
        Ok(Action::Send { conn: conn_name(conn)?, what: parse_sent(rest)?, hold: true })
    } else if let Some(conn) = word.strip_suffix('>') {
        Ok(Action::Send { conn: conn_name(conn)?, what: parse_sent(rest)?, hold: false })
    } else if let (Some(conn), Some(rest)) = (word.strip_suffix('<'), rest.strip_prefix("maybe ")) {
        match parse_expected(line, rest, lines)? {
            what @ Expected::Packet { .. } => Ok(Action::Maybe { conn: conn_name(conn)?, what }),
            _ => Err("what may come is a packet".to_owned()),
        }
    } else if let Some(conn) = word.strip_suffix('<') {
        Ok(Action::Expect { conn: conn_name(conn)?, what: parse_expected(line, rest, lines)? })
    } else {
        Err("neither `name> ...` nor `name< ...` nor a known word".to_owned())
    }
}

// `one of w1 w2 w3< NOOP`
fn parse_one_of(line: &Line<'_>, lines: &mut &[Line<'_>]) -> Result<Action, String> {
    let (conns, rest) = line.text.split_once("< ").ok_or("`one of` is followed by names and `< ...`")?;
    let conns = conns.strip_prefix("one of ").ok_or("did you mean `one of`?")?;
    let conns: Vec<String> = conns.split(' ').map(conn_name).collect::<Result<_, _>>()?;
    match parse_expected(line, rest, lines)? {
        what @ Expected::Packet { .. } if conns.len() > 1 => Ok(Action::OneOf { conns, what }),
        _ => Err("`one of` several connections receives a packet".to_owned()),
    }
}

// `eventually admin> status` and the expectation on the next line.
fn parse_eventually(line: &Line<'_>, rest: &str, lines: &mut &[Line<'_>]) -> Result<Action, String> {
    let sending = parse_action(&Line { text: rest, ..*line }, lines)?;
    let Some((&next, others)) = lines.split_first() else {
        return Err("what is expected?".to_owned());
    };
    *lines = others;
    match (sending, parse_action(&next, lines)?) {
        (Action::Send { conn, what: send, hold: false }, Action::Expect { conn: answered, what: expect })
            if conn == answered && !matches!(expect, Expected::Nothing | Expected::Closed) =>
        {
            Ok(Action::Eventually { conn, send, expect })
        }
        _ => Err("`eventually name> ...` is followed by the answer, `name< ...`".to_owned()),
    }
}

fn conn_name(name: &str) -> Result<String, String> {
    let good = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if good { Ok(name.to_owned()) } else { Err(format!("`{name}` is no name for a connection")) }
}

fn parse_sent(text: &str) -> Result<Sent, String> {
    if let Some(quoted) = quoted(text)? {
        return Ok(Sent::Bytes(Template::parse(quoted)?));
    }
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "RES" => {
            let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let command = command_named(word)?;
            Ok(Sent::Packet {
                magic: Magic::Response,
                number: command as u32,
                body: parse_body(command, rest)?,
            })
        }
        "REQ" => {
            let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let number = number.parse().map_err(|_| "REQ is followed by a type number and the body")?;
            Ok(Sent::Packet { magic: Magic::Request, number, body: Template::parse(rest)? })
        }
        word if word.starts_with(|first: char| first.is_ascii_uppercase()) => {
            let command = command_named(word)?;
            Ok(Sent::Packet {
                magic: Magic::Request,
                number: command as u32,
                body: parse_body(command, rest)?,
            })
        }
        _ => {
            let mut line = Template::parse(text)?;
            line.push(b"\n");
            Ok(Sent::Bytes(line))
        }
    }
}

fn parse_expected(line: &Line<'_>, text: &str, lines: &mut &[Line<'_>]) -> Result<Expected, String> {
    if let Some(quoted) = quoted(text)? {
        if !quoted.ends_with("\\n") {
            return Err("expected text ends with a line end, \\n".to_owned());
        }
        return Ok(Expected::Text(Template::parse(quoted)?));
    }
    match text {
        "nothing" => Ok(Expected::Nothing),
        "closed" => Ok(Expected::Closed),
        "list" => {
            let count = lines.iter().take_while(|next| next.indent > line.indent).count();
            let (items, others) = lines.split_at(count);
            *lines = others;
            let items = items.iter().map(|item| Template::parse(item.text).map_err(|error| at(item, &error)));
            Ok(Expected::List(items.collect::<Result<_, _>>()?))
        }
        _ => {
            let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
            let command = command_named(word)?;
            Ok(Expected::Packet { command, body: parse_body(command, rest)? })
        }
    }
}

fn quoted(text: &str) -> Result<Option<&str>, String> {
    match text.strip_prefix('"') {
        None => Ok(None),
        Some(rest) => rest.strip_suffix('"').map(Some).ok_or_else(|| "a quote is not closed".to_owned()),
    }
}

fn command_named(name: &str) -> Result<Command, String> {
    let found = Command::ALL.iter().find(|command| command.name() == name);
    found.copied().ok_or_else(|| format!("no packet is called {name}"))
}

// Fields as the packet table counts them: all arguments, then the data.
fn parse_body(command: Command, text: &str) -> Result<Template, String> {
    let fields = command.argc() + usize::from(command.has_data());
    if fields == 0 && !text.is_empty() {
        return Err(format!("{} has no fields; write REQ {} for a body", command.name(), command as u32));
    }
    let template = Template::parse_fields(text, fields.max(1));
    template.map_err(|error| format!("{}: {error}", command.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, String> {
        Script::parse(Path::new("05/x.txt"), text)
    }

    const GOOD: &str = r#"# Spec 5.1: A rule.
start --job-retries=3 --exceptions
alone
skip gearmand, because it hangs for ever

# A remark.
client+> SUBMIT_JOB {f}|u|a|b\|c
client> "status\r\n"
client< JOB_CREATED {h1}
client< "OK\r\n"
only gearshard, because it does so:
    admin> status
    admin< list
        {f}\t1\t0\t0
    close client
wait 20ms
eventually worker> GRAB_JOB
worker< NO_JOB
one of worker client< NOOP
worker> RES CAN_DO f
worker> REQ 43 junk
worker< closed
"#;

    #[test]
    fn a_script_is_read_as_it_is_meant() {
        let text = GOOD.replace("|a|b\\|c", "|a b\\|c");
        let script = parse(&text).unwrap();
        assert_eq!((script.section, script.defect, script.alone), (5, false, true));
        assert_eq!(script.arguments, ["--job-retries=3", "--exceptions"]);
        assert_eq!(script.skip, Some((Kind::Gearmand, "it hangs for ever".to_owned())));
        assert_eq!(script.steps.len(), 11);
        assert_eq!(script.all_steps().len(), 14);
        let Action::Send { conn, what: Sent::Packet { magic: Magic::Request, number: 7, body }, hold: true } =
            &script.steps[0].action
        else {
            panic!("{:?}", script.steps[0]);
        };
        assert_eq!((conn.as_str(), script.steps[0].line), ("client", 7));
        assert_eq!(body, &Template::parse("{f}\\0u\\0a b\\|c").unwrap());
        let Action::Only { kind: Kind::Gearshard, steps } = &script.steps[4].action else {
            panic!("{:?}", script.steps[4]);
        };
        assert!(
            matches!(&steps[1].action, Action::Expect { what: Expected::List(lines), .. } if lines.len() == 1)
        );
        assert!(matches!(
            &script.steps[6].action,
            Action::Eventually { expect: Expected::Packet { .. }, .. }
        ));
        assert!(matches!(
            &script.steps[8].action,
            Action::Send { what: Sent::Packet { magic: Magic::Response, number: 1, .. }, .. }
        ));
    }

    #[test]
    fn mistakes_are_refused_with_their_line() {
        let mistakes = [
            ("client> SUBMIT_JOB f|u", "3 fields"),
            ("client> SUBMIT_JOB f|u|a|b", "3 fields"),
            ("client> GRAB_JOB x", "no fields"),
            ("client> SUBMIT_JBO f|u|d", "no packet is called"),
            ("client< \"OK\"", "line end"),
            ("client< \"OK\\n", "quote"),
            ("client- GRAB_JOB", "neither"),
            ("Client> GRAB_JOB", "no name"),
            ("    client> GRAB_JOB", "indented"),
            ("only gearmand: client> GRAB_JOB", "block"),
            ("only gearmand, because of this here:", "nothing in the block"),
            ("skip nobody, because it is not there", "no server"),
            ("skip gearmand, because no", "a reason"),
            ("eventually client> GRAB_JOB\nclient> GRAB_JOB", "followed by the answer"),
            ("eventually client> GRAB_JOB\nclient< nothing", "followed by the answer"),
            ("wait 5s", "how many ms"),
            ("worker< maybe nothing", "a packet"),
            ("one of a< NOOP", "several"),
            ("one of a b< nothing", "a packet"),
            ("one a b< NOOP", "did you mean"),
        ];
        for (line, wanted) in mistakes {
            let error = parse(&format!("# Spec 5: A rule.\n{line}\n")).unwrap_err();
            assert!(error.contains("line 2") && error.contains(wanted), "{line}: {error}");
        }
        for title in ["", "# A rule.", "# Spec five: A rule.", "# Spec 5: ", "Spec 5: A rule."] {
            assert!(parse(title).unwrap_err().contains("line 1"), "{title}");
        }
    }
}
