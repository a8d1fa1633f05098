//! Who gets what: packets in, packets into the outputs of others.
//!
//! A GRAB that finds no job is not answered, unless that is wanted: the worker
//! waits in a ring of its functions, and the next job goes to it at once. Knows
//! no sockets.

use std::collections::{HashMap, VecDeque};

use gearshard::protocol::encode::encode;
use gearshard::protocol::packet::{Command, Magic, Packet};

use super::backlog::{Backlog, Waiting};
use super::handle::{Handle, NOBODY};
use crate::engine::plan::Kind;

/// A function that a worker serves.
struct Skill {
    function: u32,
    /// Whether the worker stands in the function's ring of those that have asked.
    asks: bool,
    /// Whether it stands in the ring of those that sleep.
    sleeps: bool,
}

/// One connection.
pub(super) struct Peer {
    /// What is to be sent to it.
    pub(super) output: Vec<u8>,
    /// Whether it is on one of the lists of those to flush.
    listed: bool,
    worker: bool,
    /// Jobs up to this number belong to who had the place before.
    since: u64,
    skills: Vec<Skill>,
    /// GRABs that are not answered yet, and how to answer them.
    grabs: u32,
    answer: Command,
    asleep: bool,
}

#[derive(Default)]
struct Function {
    name: Vec<u8>,
    /// Jobs that wait, by their priority: the first of these are handed out first.
    backlogs: [Backlog; 3],
    /// Workers that have asked: their place, and which of their skills this is.
    asking: VecDeque<(u32, u32)>,
    /// The same for those that want to be woken.
    sleeping: VecDeque<(u32, u32)>,
}

impl Function {
    fn is_idle(&self) -> bool {
        self.backlogs.iter().all(Backlog::is_empty)
    }
}

/// All that the relay knows.
pub(super) struct Switch {
    /// Whether a GRAB that finds no job is answered.
    says_no_job: bool,
    peers: Vec<Option<Peer>>,
    names: HashMap<Vec<u8>, u32>,
    functions: Vec<Function>,
    /// The function of the last submit, most likely that of the next.
    last: u32,
    /// Jobs so far.
    number: u64,
    workers_to_flush: Vec<u32>,
    clients_to_flush: Vec<u32>,
}

impl Switch {
    /// A switch that answers a GRAB in vain with NO_JOB, or keeps it until there is a job.
    pub(super) fn new(says_no_job: bool) -> Self {
        Self {
            says_no_job,
            peers: Vec::new(),
            names: HashMap::new(),
            functions: Vec::new(),
            last: 0,
            number: 0,
            workers_to_flush: Vec::new(),
            clients_to_flush: Vec::new(),
        }
    }

    /// A connection has come; `place` is free, and not far behind the others.
    pub(super) fn open(&mut self, place: u32) {
        let index = place as usize;
        if index >= self.peers.len() {
            self.peers.resize_with(index + 1, || None);
        }
        self.peers[index] = Some(Peer {
            output: Vec::new(),
            listed: false,
            worker: false,
            since: self.number,
            skills: Vec::new(),
            grabs: 0,
            answer: Command::JobAssign,
            asleep: false,
        });
    }

    /// A connection has gone.
    pub(super) fn close(&mut self, place: u32) {
        self.reset(place);
        self.peers[place as usize] = None;
    }

    /// The connection at this place.
    pub(super) fn peer(&mut self, place: u32) -> Option<&mut Peer> {
        self.peers.get_mut(place as usize)?.as_mut()
    }

    /// Whether something waits to be sent to clients.
    pub(super) fn clients_wait(&self) -> bool {
        !self.clients_to_flush.is_empty()
    }

    /// The next worker, or the next client, that something is to be sent to.
    pub(super) fn next_to_flush(&mut self, clients: bool) -> Option<u32> {
        let list = if clients { &mut self.clients_to_flush } else { &mut self.workers_to_flush };
        let place = list.pop()?;
        if let Some(peer) = self.peer(place) {
            peer.listed = false;
        }
        Some(place)
    }

    /// Acts on one packet.
    pub(super) fn packet(&mut self, from: u32, packet: &Packet<'_>) {
        if let Some(kind) = Kind::of(packet.command) {
            return self.submit(from, kind, packet);
        }
        match packet.command {
            Command::WorkComplete
            | Command::WorkFail
            | Command::WorkException
            | Command::WorkData
            | Command::WorkWarning
            | Command::WorkStatus => self.forward(packet),
            Command::GrabJob => self.grab(from, Command::JobAssign),
            Command::GrabJobUniq => self.grab(from, Command::JobAssignUniq),
            Command::GrabJobAll => self.grab(from, Command::JobAssignAll),
            Command::PreSleep => self.sleep(from),
            Command::CanDo | Command::CanDoTimeout => self.can_do(from, packet.args[0]),
            Command::ResetAbilities => self.reset(from),
            Command::EchoReq => self.send(from, Command::EchoRes, &[], packet.data),
            Command::SetClientId => {}
            _ => self.send(
                from,
                Command::Error,
                &[b"NOT_RELAYED", b"the relay does not know this request"],
                &[],
            ),
        }
    }

    fn send(&mut self, to: u32, command: Command, args: &[&[u8]], data: &[u8]) {
        if let Some(peer) = self.peers.get_mut(to as usize).and_then(Option::as_mut) {
            encode(&mut peer.output, Magic::Response, command, args, data);
            list(&mut self.workers_to_flush, &mut self.clients_to_flush, to, peer);
        }
    }

    fn submit(&mut self, from: u32, kind: Kind, packet: &Packet<'_>) {
        self.number += 1;
        let waits = if kind.background { NOBODY } else { from };
        let handle = Handle { client: waits, number: self.number }.bytes();
        self.send(from, Command::JobCreated, &[&handle], &[]);
        let [name, unique, ..] = packet.args;
        let function = self.function(name);
        let job = Waiting { handle: &handle, unique, data: packet.data };
        match self.next_asking(function) {
            Some(worker) => {
                let peer = self.peers[worker as usize].as_mut().expect("who asks is there");
                assign(peer, &self.functions[function as usize].name, job);
                list(&mut self.workers_to_flush, &mut self.clients_to_flush, worker, peer);
            }
            None => {
                self.functions[function as usize].backlogs[kind.level as usize].push(job);
                self.wake(function);
            }
        }
    }

    /// Takes one GRAB of the worker that has waited longest.
    fn next_asking(&mut self, function: u32) -> Option<u32> {
        let asking = &mut self.functions[function as usize].asking;
        while let Some((place, skill)) = asking.pop_front() {
            let peer = self.peers[place as usize].as_mut().expect("a ring holds those that are there");
            // Another of its functions may have used the last one up.
            peer.skills[skill as usize].asks = peer.grabs > 1;
            if peer.grabs > 1 {
                asking.push_back((place, skill));
            }
            if peer.grabs > 0 {
                peer.grabs -= 1;
                return Some(place);
            }
        }
        None
    }

    fn wake(&mut self, function: u32) {
        while let Some((place, skill)) = self.functions[function as usize].sleeping.pop_front() {
            let peer = self.peers[place as usize].as_mut().expect("a ring holds those that are there");
            peer.skills[skill as usize].sleeps = false;
            if std::mem::take(&mut peer.asleep) {
                return self.send(place, Command::Noop, &[], &[]);
            }
        }
    }

    fn grab(&mut self, from: u32, answer: Command) {
        let Some(peer) = self.peers.get_mut(from as usize).and_then(Option::as_mut) else { return };
        peer.worker = true;
        peer.asleep = false;
        peer.answer = answer;
        for at in 0..peer.skills.len() {
            let Function { name, backlogs, .. } = &mut self.functions[peer.skills[at].function as usize];
            if backlogs.iter_mut().any(|backlog| backlog.pop(|job| assign(peer, name, job))) {
                return list(&mut self.workers_to_flush, &mut self.clients_to_flush, from, peer);
            }
        }
        if self.says_no_job {
            return self.send(from, Command::NoJob, &[], &[]);
        }
        peer.grabs += 1;
        for (index, skill) in (0..).zip(&mut peer.skills) {
            if !std::mem::replace(&mut skill.asks, true) {
                self.functions[skill.function as usize].asking.push_back((from, index));
            }
        }
    }

    fn sleep(&mut self, from: u32) {
        let Some(peer) = self.peers.get_mut(from as usize).and_then(Option::as_mut) else { return };
        peer.worker = true;
        if peer.skills.iter().any(|skill| !self.functions[skill.function as usize].is_idle()) {
            return self.send(from, Command::Noop, &[], &[]);
        }
        // One whose GRAB is not answered yet gets its job without being woken.
        if peer.grabs > 0 {
            return;
        }
        peer.asleep = true;
        for (index, skill) in (0..).zip(&mut peer.skills) {
            if !std::mem::replace(&mut skill.sleeps, true) {
                self.functions[skill.function as usize].sleeping.push_back((from, index));
            }
        }
    }

    fn can_do(&mut self, from: u32, name: &[u8]) {
        let function = self.function(name);
        let Some(peer) = self.peer(from) else { return };
        peer.worker = true;
        if peer.skills.iter().all(|skill| skill.function != function) {
            peer.skills.push(Skill { function, asks: false, sleeps: false });
        }
    }

    fn reset(&mut self, from: u32) {
        let Some(peer) = self.peers.get_mut(from as usize).and_then(Option::as_mut) else { return };
        for skill in peer.skills.drain(..) {
            let function = &mut self.functions[skill.function as usize];
            if skill.asks {
                function.asking.retain(|&(place, _)| place != from);
            }
            if skill.sleeps {
                function.sleeping.retain(|&(place, _)| place != from);
            }
        }
    }

    /// Passes a worker's word on to whoever waits for the job.
    fn forward(&mut self, packet: &Packet<'_>) {
        let Some(handle) = Handle::parse(packet.args[0]) else { return };
        if self.peer(handle.client).is_some_and(|client| handle.number > client.since) {
            self.send(handle.client, packet.command, &packet.args[..packet.command.argc()], packet.data);
        }
    }

    fn function(&mut self, name: &[u8]) -> u32 {
        if self.functions.get(self.last as usize).is_some_and(|function| function.name == name) {
            return self.last;
        }
        self.last = match self.names.get(name) {
            Some(&function) => function,
            None => {
                let function =
                    u32::try_from(self.functions.len()).expect("names of 4 billion functions fit nowhere");
                self.names.insert(name.to_vec(), function);
                self.functions.push(Function { name: name.to_vec(), ..Function::default() });
                function
            }
        };
        self.last
    }
}

/// Notes that something is to be sent to `peer`.
fn list(workers: &mut Vec<u32>, clients: &mut Vec<u32>, place: u32, peer: &mut Peer) {
    if !std::mem::replace(&mut peer.listed, true) {
        if peer.worker { workers } else { clients }.push(place);
    }
}

fn assign(peer: &mut Peer, function: &[u8], job: Waiting<'_>) {
    let args: [&[u8]; 4] = [job.handle, function, job.unique, b""];
    encode(&mut peer.output, Magic::Response, peer.answer, &args[..peer.answer.argc()], job.data);
}
