//! Admin lines: questions of a connection, answers of the shards.
//!
//! What is the same everywhere is answered by the home; lists are gathered
//! from all shards and leave in one write, as monitoring tools read them with
//! one read. Source: gearmand-spec.md, section 13.

use super::connection::{Merge, Question};
use super::context::Context;
use super::gathered::Gathered;
use super::home::Home;
use super::ids::{ConnId, Now, ShardId};
use super::message::{AdminQuery, Bring, Letters, Message, Reply};
use super::outbox::{Outbox, Urgency};
use super::owner::{DropRefusal, Owner};
use super::placement::owner_of;
use super::settings::Settings;
use crate::protocol::admin::{self, AdminCommand, AdminError, Dead};
use crate::protocol::retry::EVERY_FUNCTION;
use crate::protocol::up_to_nul;
use crate::queue::job::{Priority, Standing};
use crate::queue::name::Name;

impl Home {
    pub(super) fn line<O: Outbox>(&mut self, conn: ConnId, line: &[u8], cx: &mut Context<'_, O>) {
        let command = match admin::parse(line) {
            Ok(command) => command,
            Err(AdminError::TooManyWords) => {
                return self.reject(conn, "an admin line of more than five words", cx);
            }
            Err(AdminError::Answer(text)) => return self.say(conn, &text, cx),
        };
        let settings = cx.settings;
        match command {
            AdminCommand::Version => self.say(conn, ok(&settings.version).as_bytes(), cx),
            AdminCommand::Verbose => self.say(conn, ok(&settings.verbose).as_bytes(), cx),
            AdminCommand::GetPid => self.say(conn, ok(&settings.pid.to_string()).as_bytes(), cx),
            AdminCommand::Workers => self.ask_all(conn, &AdminQuery::Workers, cx),
            AdminCommand::Status => self.ask_all(conn, &AdminQuery::Status, cx),
            AdminCommand::PriorityStatus => self.ask_all(conn, &AdminQuery::PriorityStatus, cx),
            AdminCommand::ShowJobs => self.ask_all(conn, &AdminQuery::ShowJobs, cx),
            AdminCommand::ShowUniqueJobs => self.ask_all(conn, &AdminQuery::ShowUniqueJobs, cx),
            AdminCommand::ShowFunctions => self.ask_all(conn, &AdminQuery::ShowFunctions, cx),
            AdminCommand::CancelJob(handle) => match settings.handle_prefix.parse(handle) {
                None => self.say(conn, admin::UNKNOWN_JOB, cx),
                Some(number) => {
                    let owner = settings.owner_of_job(number);
                    self.ask_one(conn, owner, AdminQuery::Cancel { number }, cx);
                }
            },
            AdminCommand::CreateFunction(name) => {
                self.ask_one(
                    conn,
                    owner_of(name, settings.shards),
                    AdminQuery::CreateFunction(Name::from(name)),
                    cx,
                );
            }
            AdminCommand::DropFunction(name) => {
                self.ask_one(
                    conn,
                    owner_of(name, settings.shards),
                    AdminQuery::DropFunction(Name::from(name)),
                    cx,
                );
            }
            AdminCommand::MaxQueue(name, limits) => {
                let query = AdminQuery::MaxQueue(Name::from(name), limits);
                self.ask_one(conn, owner_of(name, settings.shards), query, cx);
            }
            AdminCommand::ShowDead(None) => self.ask_all(conn, &AdminQuery::ShowDead(None), cx),
            AdminCommand::ShowDead(Some(name)) => {
                let query = AdminQuery::ShowDead(Some(Name::from(name)));
                self.ask_for(conn, owner_of(name, settings.shards), query, Merge::List, cx);
            }
            AdminCommand::RequeueDead(which) => self.dead_letters(conn, which, Bring::Back, cx),
            AdminCommand::PurgeDead(which) => self.dead_letters(conn, which, Bring::Away, cx),
            AdminCommand::ShowRetries => self.ask_all(conn, &AdminQuery::ShowRetries, cx),
            AdminCommand::Retry(name, policy) => {
                let query = AdminQuery::Retry(Name::from(name), policy);
                if name == EVERY_FUNCTION {
                    self.ask_every(conn, &query, Merge::Same, cx);
                } else {
                    self.ask_one(conn, owner_of(name, settings.shards), query, cx);
                }
            }
        }
    }

    fn dead_letters<O: Outbox>(
        &mut self,
        conn: ConnId,
        which: Dead<'_>,
        bring: Bring,
        cx: &mut Context<'_, O>,
    ) {
        let settings = cx.settings;
        let (owner, letters) = match which {
            Dead::All => return self.ask_every(conn, &AdminQuery::Dead(Letters::All, bring), Merge::Sum, cx),
            Dead::Named(name) => match settings.handle_prefix.parse(name) {
                Some(number) => (settings.owner_of_job(number), Letters::One(number)),
                None => (owner_of(name, settings.shards), Letters::Of(Name::from(name))),
            },
        };
        self.ask_for(conn, owner, AdminQuery::Dead(letters, bring), Merge::Sum, cx);
    }

    fn say<O: Outbox>(&mut self, conn: ConnId, text: &[u8], cx: &mut Context<'_, O>) {
        self.scratch.clear();
        self.scratch.extend_from_slice(text);
        self.reply_scratch(conn, Urgency::Idle, cx);
    }

    fn ask_one<O: Outbox>(
        &mut self,
        conn: ConnId,
        owner: ShardId,
        query: AdminQuery,
        cx: &mut Context<'_, O>,
    ) {
        self.ask_for(conn, owner, query, Merge::Same, cx);
    }

    fn ask_for<O: Outbox>(
        &mut self,
        conn: ConnId,
        owner: ShardId,
        query: AdminQuery,
        merge: Merge,
        cx: &mut Context<'_, O>,
    ) {
        let question = Question::Text { answers: Gathered::new(1), merge };
        let Some(reply) = self.ask(conn, question, cx) else { return };
        cx.send(owner, Message::Admin { reply, query });
    }

    fn ask_all<O: Outbox>(&mut self, conn: ConnId, query: &AdminQuery, cx: &mut Context<'_, O>) {
        self.ask_every(conn, query, Merge::List, cx);
    }

    fn ask_every<O: Outbox>(
        &mut self,
        conn: ConnId,
        query: &AdminQuery,
        merge: Merge,
        cx: &mut Context<'_, O>,
    ) {
        let answers = Gathered::new(usize::from(cx.settings.shards));
        let Some(reply) = self.ask(conn, Question::Text { answers, merge }, cx) else { return };
        for shard in 0..cx.settings.shards {
            cx.send(ShardId(shard), Message::Admin { reply, query: query.clone() });
        }
    }

    pub(super) fn admin_answer<O: Outbox>(
        &mut self,
        from: ShardId,
        reply: Reply,
        text: Vec<u8>,
        cx: &mut Context<'_, O>,
    ) {
        let Some(connection) = self.connections.get_mut(reply.conn) else { return };
        let question = connection.replies.question(reply.sequence);
        let Some(Question::Text { answers, merge }) = question else { return };
        let merge = *merge;
        let Some(parts) = answers.add(from, text) else { return };
        self.scratch = merged(parts, merge);
        self.answer(reply, Urgency::Idle, None, cx);
        self.scratch = Vec::new();
    }

    // `<fd> <ip> <id> : <f1> <f2>...`, newest function first.
    fn workers_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for connection in self.connections.iter().filter(|connection| !connection.closing) {
            text.extend_from_slice(format!("{} {} ", connection.peer.fd, connection.peer.address).as_bytes());
            text.extend_from_slice(up_to_nul(connection.name.as_deref().unwrap_or(b"-")));
            text.extend_from_slice(b" :");
            for registration in connection.worker.iter().flat_map(|worker| worker.functions.iter()) {
                text.push(b' ');
                text.extend_from_slice(up_to_nul(&self.beliefs.at(registration.slot).name));
            }
            text.push(b'\n');
        }
        text
    }
}

/// One answer of those of all shards that were asked.
fn merged(mut parts: Vec<Vec<u8>>, merge: Merge) -> Vec<u8> {
    match merge {
        Merge::Same => parts.swap_remove(0),
        Merge::List => {
            parts.push(b".\n".to_vec());
            parts.concat()
        }
        Merge::Sum => {
            let number = |part: &Vec<u8>| std::str::from_utf8(part).ok()?.parse::<u64>().ok();
            match parts.iter().map(number).sum::<Option<u64>>() {
                Some(sum) => format!("OK {sum}\r\n").into_bytes(),
                None => parts.swap_remove(0),
            }
        }
    }
}

/// A shard's answer to an admin question.
pub(super) fn admin<O: Outbox>(
    home: &Home,
    owner: &mut Owner,
    reply: Reply,
    query: &AdminQuery,
    cx: &mut Context<'_, O>,
) {
    let text = match query {
        AdminQuery::Workers => home.workers_text(),
        AdminQuery::Status => status_text(owner),
        AdminQuery::PriorityStatus => priority_status_text(owner),
        AdminQuery::ShowJobs => jobs_text(owner, cx.settings),
        AdminQuery::ShowUniqueJobs => uniques_text(owner),
        AdminQuery::ShowFunctions => functions_text(owner, cx.now),
        AdminQuery::ShowDead(function) => owner.dead_text(function.as_ref(), cx.settings),
        AdminQuery::ShowRetries => owner.policies_text(cx.id),
        AdminQuery::Dead(letters, bring) => {
            let done = owner.bring(letters, *bring, cx);
            let text =
                done.map_or_else(|| admin::UNKNOWN_JOB.to_vec(), |count| count.to_string().into_bytes());
            return owner.answer_admin(reply, text, cx);
        }
        AdminQuery::Retry(name, policy) => {
            if owner.set_policy(name, *policy, cx) {
                admin::OK.to_vec()
            } else {
                admin::TOO_MANY_FUNCTIONS.to_vec()
            }
        }
        AdminQuery::Cancel { number } => {
            if owner.cancel(*number, cx) {
                admin::OK.to_vec()
            } else {
                admin::UNKNOWN_JOB.to_vec()
            }
        }
        AdminQuery::CreateFunction(name) => {
            if owner.create_function(name, cx) {
                admin::OK.to_vec()
            } else {
                admin::TOO_MANY_FUNCTIONS.to_vec()
            }
        }
        AdminQuery::DropFunction(name) => match owner.drop_function(name, cx) {
            Ok(()) => admin::OK.to_vec(),
            Err(DropRefusal::NotFound) => admin::FUNCTION_NOT_FOUND.to_vec(),
            Err(DropRefusal::InUse) => admin::FUNCTION_IN_USE.to_vec(),
        },
        AdminQuery::MaxQueue(name, limits) => {
            if let Some(function) = owner.queue.functions.find(name) {
                owner.queue.functions[function].limits = *limits;
            }
            admin::OK.to_vec()
        }
    };
    cx.send(reply.conn.shard(), Message::AdminAnswer { reply, text });
}

fn ok(what: &str) -> String {
    format!("OK {what}\n")
}

/// `<name>\t<n1>\t<n2>...\n`; a NUL would end the whole text for readers in C.
fn push_row(text: &mut Vec<u8>, name: &[u8], numbers: &[u64]) {
    text.extend_from_slice(up_to_nul(name));
    for &number in numbers {
        text.push(b'\t');
        text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
    text.push(b'\n');
}

fn status_text(owner: &Owner) -> Vec<u8> {
    let mut text = Vec::new();
    for (at, function) in owner.queue.functions.iter() {
        let counts = [function.total() as u64, function.running() as u64, owner.workers(at)];
        push_row(&mut text, &function.name, &counts);
    }
    text
}

fn priority_status_text(owner: &Owner) -> Vec<u8> {
    let mut text = Vec::new();
    for (at, function) in owner.queue.functions.iter() {
        let [high, normal, low] = Priority::FROM_HIGH.map(|priority| function.waiting(priority) as u64);
        push_row(&mut text, &function.name, &[high, normal, low, owner.workers(at)]);
    }
    text
}

// `<name>\t<ended>\t<milliseconds>`: jobs that have left the queue so far, and how old the oldest one
// is that could run at once; 0 where none could.
fn functions_text(owner: &Owner, now: Now) -> Vec<u8> {
    let mut text = Vec::new();
    for (at, function) in owner.queue.functions.iter() {
        // Numbers are about the microseconds since 1970 at which jobs came.
        let oldest = owner.queue.oldest_runnable(at);
        let oldest_ms = oldest.map_or(0, |number| now.unix_us.saturating_sub(number) / 1000);
        push_row(&mut text, &function.name, &[function.ended(), oldest_ms]);
    }
    text
}

// `<handle>\t<retries>\t<dead>\t<background>`
fn jobs_text(owner: &Owner, settings: &Settings) -> Vec<u8> {
    let mut text = Vec::new();
    for job in owner.queue.iter() {
        let dead = u64::from(job.is_unwanted());
        let background = u64::from(matches!(job.standing, Standing::Background | Standing::Durable));
        let handle = settings.handle_prefix.handle(job.number);
        push_row(&mut text, handle.as_bytes(), &[u64::from(job.losses), dead, background]);
    }
    text
}

fn uniques_text(owner: &Owner) -> Vec<u8> {
    let mut text = Vec::new();
    for job in owner.queue.iter() {
        text.extend_from_slice(up_to_nul(job.unique()));
        text.push(b'\n');
    }
    text
}
