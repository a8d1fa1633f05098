//! The two servers, and playing a script to both in lock-step.
//!
//! After each step everybody comes to rest before anything is compared: the
//! connection that acted gets an ECHO_REQ answered, then effects on others are
//! waited for, then everybody else gets one answered. What came until then is
//! the step's outcome. Nothing here waits for time to pass.

use super::exceptions::Exception;
use super::reply::{Handles, Said, sort_lists, take};
use super::script::{Outcome, Step, Who, Wire};
use super::support::{Kind, Server};
use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How long a server may take to answer an echo before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a script could not be played to its end.
#[derive(Debug)]
pub enum Trouble {
    /// The servers differ; what each said, by connection.
    Differ(String),
    /// The reference died or hung: not our fault, and the pair is to be replaced.
    Reference(String),
    /// Our server died or hung.
    Ours(String),
}

/// What each connection was told in one step.
pub type Told = Vec<(Who, Vec<Said>)>;

/// The reference and our server side by side.
#[derive(Debug)]
pub struct Pair {
    reference: Side,
    ours: Side,
    /// Whether our server has several shards, so that requests of one
    /// connection and news for it come by different roads.
    sharded: bool,
}

impl Pair {
    /// Starts both. `shards` is the number of our server's.
    pub fn start(kind: Kind, shards: usize, extra: &[&str]) -> Self {
        let threads = format!("--threads={shards}");
        let reference: Vec<&str> = REFERENCE.iter().chain(extra).copied().collect();
        let ours = match kind {
            Kind::Gearshard => [&["--worker-wakeup=0", &threads], extra].concat(),
            Kind::Gearmand => reference.clone(),
        };
        let probes = if kind == Kind::Gearshard && shards > 1 { shards } else { 0 };
        Self {
            reference: Side::new(Server::gearmand(&reference), 0),
            ours: Side::new(Server::start(kind, &ours), probes),
            sharded: probes > 0,
        }
    }

    /// Forgets the last script; `name` is in every function, unique and id of the next.
    pub fn begin(&mut self, name: &str) {
        for side in [&mut self.reference, &mut self.ours] {
            side.links.clear();
            side.handles = Handles::default();
            name.as_bytes().clone_into(&mut side.script);
        }
    }

    /// Plays one step to both and returns what both said.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub fn play(&mut self, step: &Step) -> Result<Told, Trouble> {
        let who = match step {
            Step::Open(who) => {
                self.reference.open(*who).map_err(Broken::reference)?;
                self.ours.open(*who).map_err(Broken::ours)?;
                // Nobody hears of it.
                return Ok(self.reference.told());
            }
            Step::Close(who) => {
                self.reference.hang_up(*who);
                self.ours.hang_up(*who);
                *who
            }
            Step::Send { who, wires, split, outcome } => {
                self.send(*who, wires, *split, *outcome)?;
                *who
            }
        };
        self.settle(who)?;
        let [reference, ours] = [&mut self.reference, &mut self.ours].map(Side::told);
        if self.alike(&reference, &ours) || self.woken_in_vain(step, &reference, &ours)? {
            return Ok(reference);
        }
        Err(Trouble::Differ(side_by_side(&reference, &ours)))
    }

    // A shard's belief of what waits may be too high: then PRE_SLEEP is answered
    // with NOOP in vain. That must be all, and set right by the next grab.
    fn woken_in_vain(&mut self, step: &Step, reference: &Told, ours: &Told) -> Result<bool, Trouble> {
        let Step::Send { who, wires, .. } = step else { return Ok(false) };
        let pre_sleep = Wire::request(Command::PreSleep, &[], b"");
        let noops = |told: &Told| {
            let said = &told[who.0].1;
            !said.is_empty() && said.iter().all(|one| one.is(Command::Noop))
        };
        let others_silent = |told: &Told| told.iter().all(|(whom, said)| whom == who || said.is_empty());
        let nothing = |told: &Told| told.iter().all(|(_, said)| said.is_empty());
        if wires.iter().any(|wire| *wire != pre_sleep)
            || !nothing(reference)
            || !noops(ours)
            || !others_silent(ours)
        {
            return Ok(false);
        }
        self.send(*who, &[Wire::request(Command::GrabJob, &[], b"")], None, Outcome::Stays)?;
        self.settle(*who)?;
        for told in [&mut self.reference, &mut self.ours].map(Side::told) {
            let no_job = told[who.0].1.len() == 1 && told[who.0].1[0].is(Command::NoJob);
            if !no_job || !others_silent(&told) {
                return Ok(false);
            }
        }
        self.send(*who, &[pre_sleep], None, Outcome::Stays)?;
        self.settle(*who)?;
        let asleep = [&mut self.reference, &mut self.ours].map(Side::told).iter().all(nothing);
        Ok(asleep && Exception::NoopInVain.avoid(true))
    }

    fn send(
        &mut self,
        who: Who,
        wires: &[Wire],
        split: Option<usize>,
        outcome: Outcome,
    ) -> Result<(), Trouble> {
        let bytes = |side: &Side| -> Vec<u8> {
            wires.iter().flat_map(|wire| wire.bytes(side.handles.given())).collect()
        };
        if let Some(at) = split {
            for side in [&mut self.reference, &mut self.ours] {
                let all = bytes(side);
                side.write(who, &all[..at.min(all.len())]);
            }
            self.settle_all(Some(who))?;
        }
        for side in [&mut self.reference, &mut self.ours] {
            let all = bytes(side);
            side.write(who, &all[split.unwrap_or(0).min(all.len())..]);
        }
        match outcome {
            Outcome::Stays => {}
            Outcome::OnlyWeClose => {
                self.reference.give_up(who).map_err(Broken::reference)?;
                if self.ours.server.kind() == Kind::Gearmand {
                    self.ours.give_up(who).map_err(Broken::ours)?;
                }
            }
        }
        Ok(())
    }

    /// Everybody comes to rest; `who` acted.
    fn settle(&mut self, who: Who) -> Result<(), Trouble> {
        self.reference.ask_echo(who);
        self.ours.ask_echo(who);
        self.reference.await_echo(who).map_err(Broken::reference)?;
        self.ours.await_echo(who).map_err(Broken::ours)?;
        // With shards, what it set off may come back to who acted, after the answer to the echo.
        self.settle_all((!self.sharded).then_some(who))
    }

    /// All but `done` come to rest, at every shard.
    fn settle_all(&mut self, done: Option<Who>) -> Result<(), Trouble> {
        // From the acting home to an owner, to another home: two rounds. A third for what that sets off.
        for _ in 0..3 {
            self.ours.probe().map_err(Broken::ours)?;
        }
        let others: Vec<Who> =
            (0..self.reference.links.len()).map(Who).filter(|who| Some(*who) != done).collect();
        for &who in &others {
            self.reference.ask_echo(who);
            self.ours.ask_echo(who);
        }
        for &who in &others {
            self.reference.await_echo(who).map_err(Broken::reference)?;
            self.ours.await_echo(who).map_err(Broken::ours)?;
        }
        Ok(())
    }

    fn alike(&self, reference: &Told, ours: &Told) -> bool {
        if !self.sharded {
            return reference == ours;
        }
        let apart = |told: &Told| -> Vec<(Who, Vec<Said>, Vec<Said>)> {
            told.iter()
                .map(|(who, said)| {
                    let (news, answers) = said.iter().cloned().partition(Said::is_news);
                    (*who, answers, news)
                })
                .collect()
        };
        apart(reference) == apart(ours)
    }
}

// One I/O thread, or effects on two connections come in no order; rotation and wake-all as ours.
const REFERENCE: [&str; 3] = ["--threads=1", "--round-robin", "--worker-wakeup=0"];

fn side_by_side(reference: &Told, ours: &Told) -> String {
    let mut text = String::new();
    for ((who, hers), (_, mine)) in reference.iter().zip(ours) {
        let list = |said: &[Said]| match said {
            [] => "nothing".to_owned(),
            said => said.iter().map(ToString::to_string).collect::<Vec<_>>().join("  "),
        };
        if hers == mine {
            text.push_str(&format!("    both tell {who}: {}\n", list(hers)));
        } else {
            text.push_str(&format!("    gearmand tells {who}:  {}\n", list(hers)));
            text.push_str(&format!("    gearshard tells {who}: {}\n", list(mine)));
        }
    }
    text
}

/// A server that does not answer.
#[derive(Debug)]
struct Broken(String);

impl Broken {
    fn reference(self) -> Trouble {
        Trouble::Reference(self.0)
    }

    fn ours(self) -> Trouble {
        Trouble::Ours(self.0)
    }
}

/// One server and the script's connections to it.
#[derive(Debug)]
struct Side {
    server: Server,
    /// One connection on each shard; asking a thing of every owner over each
    /// of them flushes all that shards had to say to each other before.
    probes: Vec<Link>,
    links: Vec<Link>,
    handles: Handles,
    script: Vec<u8>,
    echoes: u64,
}

impl Side {
    fn new(server: Server, probes: usize) -> Self {
        // The first connections, one by one: each goes to the shard that has the fewest.
        let probes =
            (0..probes).map(|_| Link::open(&server).expect("the server has just answered")).collect();
        Self { server, probes, links: Vec::new(), handles: Handles::default(), script: Vec::new(), echoes: 0 }
    }

    fn open(&mut self, who: Who) -> Result<(), Broken> {
        assert_eq!(who.0, self.links.len(), "connections are opened in order and never again");
        self.links.push(Link::open(&self.server)?);
        Ok(())
    }

    fn write(&mut self, who: Who, bytes: &[u8]) {
        self.links[who.0].write(bytes);
    }

    fn hang_up(&mut self, who: Who) {
        let link = &mut self.links[who.0];
        if !link.closed {
            // It may have been closed from the other side already.
            let _ = link.stream.shutdown(Shutdown::Write);
            link.leaving = true;
        }
    }

    // The script closes what gearmand would not, whatever she says until then.
    fn give_up(&mut self, who: Who) -> Result<(), Broken> {
        self.hang_up(who);
        self.links[who.0].read_to_close()?;
        self.links[who.0].said = vec![Said::Closed];
        Ok(())
    }

    fn ask_echo(&mut self, who: Who) {
        let link = &mut self.links[who.0];
        if link.closed || link.leaving {
            return;
        }
        self.echoes += 1;
        let token = format!("{}#{}", String::from_utf8_lossy(&self.script), self.echoes);
        link.ask_echo(token.into_bytes());
    }

    fn await_echo(&mut self, who: Who) -> Result<(), Broken> {
        let link = &mut self.links[who.0];
        if link.leaving {
            return link.read_to_close();
        }
        link.await_echo()
    }

    // A unique nobody has is looked up at every owner.
    fn probe(&mut self) -> Result<(), Broken> {
        let mut question = Vec::new();
        encode(&mut question, Magic::Request, Command::GetStatusUnique, &[b"probe"], b"");
        for probe in &mut self.probes {
            probe.write(&question);
        }
        for probe in &mut self.probes {
            probe.read_until(|link| link.said.iter().any(|said| said.is(Command::StatusResUnique)))?;
            if probe.closed {
                return Err(Broken("it closed a connection that asks harmless questions".to_owned()));
            }
            probe.said.clear();
        }
        Ok(())
    }

    fn told(&mut self) -> Told {
        let mut told = Vec::new();
        // JOB_CREATED before anything that names the handle: whoever gets it was asked first.
        let mut all: Vec<(usize, Vec<Said>)> = self
            .links
            .iter_mut()
            .enumerate()
            .map(|(index, link)| (index, std::mem::take(&mut link.said)))
            .collect();
        all.sort_by_key(|(_, said)| !said.iter().any(|one| one.is(Command::JobCreated)));
        for (index, said) in all {
            let mut levelled: Vec<Said> =
                said.into_iter().filter_map(|one| self.handles.level(one, &self.script)).collect();
            sort_lists(&mut levelled);
            told.push((Who(index), levelled));
        }
        told.sort_by_key(|(who, _)| *who);
        told
    }
}

/// A connection with an eye on the end of what is due on it.
#[derive(Debug)]
struct Link {
    stream: TcpStream,
    received: Vec<u8>,
    said: Vec<Said>,
    awaited: Option<Vec<u8>>,
    leaving: bool,
    closed: bool,
}

impl Link {
    fn open(server: &Server) -> Result<Self, Broken> {
        let connect = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect(server.address())?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = connect().map_err(|error| Broken(format!("it does not take connections: {error}")))?;
        Ok(Self {
            stream,
            received: Vec::new(),
            said: Vec::new(),
            awaited: None,
            leaving: false,
            closed: false,
        })
    }

    // Whether the server still reads shows when it is read from.
    fn write(&mut self, bytes: &[u8]) {
        if !self.closed {
            let _ = self.stream.write_all(bytes);
        }
    }

    fn ask_echo(&mut self, token: Vec<u8>) {
        let mut question = Vec::new();
        encode(&mut question, Magic::Request, Command::EchoReq, &[], &token);
        self.write(&question);
        self.awaited = Some(token);
    }

    fn await_echo(&mut self) -> Result<(), Broken> {
        let Some(token) = self.awaited.take() else {
            return Ok(());
        };
        let echo = Said::Packet { number: Command::EchoRes as u32, body: token };
        let mut seen = 0;
        let mut answered = false;
        self.read_until(|link| {
            answered |= link.said[seen..].contains(&echo);
            seen = link.said.len();
            answered
        })?;
        self.said.retain(|said| *said != echo);
        Ok(())
    }

    fn read_to_close(&mut self) -> Result<(), Broken> {
        self.read_until(|_| false)
    }

    // Reads until `enough` holds or the server closes.
    fn read_until(&mut self, mut enough: impl FnMut(&Self) -> bool) -> Result<(), Broken> {
        let mut chunk = [0; 32 * 1024];
        while !self.closed && !enough(self) {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.end(),
                Ok(length) => {
                    self.received.extend_from_slice(&chunk[..length]);
                    while let Some(said) = take(&mut self.received).map_err(Broken)? {
                        self.said.push(said);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    self.end();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Broken(format!("no answer within {PATIENCE:?}: {error}"))),
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.closed = true;
        self.said.push(Said::Closed);
    }
}
