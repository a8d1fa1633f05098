//! Which servers a command is about, and asking all of them at once.

use std::thread;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::text::duration;
use crate::client::admin::AdminError;
use crate::client::{Admin, Client, ClientBuilder, ClientError, ServerAddress};

/// The options that choose servers.
#[derive(Args, Clone, Debug)]
pub(super) struct Servers {
    /// Server to use: HOST, HOST:PORT, [::1]:PORT or unix:/PATH; several with commas, or several times
    #[arg(short, long = "server", value_name = "ADDRESS", global = true)]
    servers: Vec<String>,

    /// How long a server may take to connect, and to answer: 5s, 200ms, 1m30s; a bare number is seconds
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, global = true)]
    pub(super) answer_timeout: Duration,
}

impl Servers {
    /// The addresses: of the options, else of the environment, else this machine's.
    pub(super) fn addresses(&self) -> Result<Vec<ServerAddress>, Failure> {
        if self.servers.is_empty() {
            return Ok(ServerAddress::from_environment()?);
        }
        Ok(ServerAddress::list(&self.servers.join(","))?)
    }

    /// A client of all of them.
    pub(super) fn client(&self) -> Result<ClientBuilder, Failure> {
        Ok(self.patient(Client::builder(self.addresses()?)))
    }

    /// A client of one of them.
    pub(super) fn client_of(&self, server: &ServerAddress) -> Result<Client, ClientError> {
        self.patient(Client::builder([server.clone()])).build()
    }

    const fn patient(&self, client: ClientBuilder) -> ClientBuilder {
        client.connect_timeout(self.answer_timeout).answer_timeout(self.answer_timeout)
    }

    /// An administrator of each server; they connect when they are asked.
    pub(super) fn fleet(&self) -> Result<Fleet, Failure> {
        let admin = |address| Admin::new(address, self.answer_timeout);
        Ok(Fleet { admins: self.addresses()?.into_iter().map(admin).collect() })
    }
}

/// An administrator of every server.
pub(super) struct Fleet {
    pub(super) admins: Vec<Admin>,
}

/// What each server answers, in their order.
pub(super) type Answers<T, E = AdminError> = Vec<(ServerAddress, Result<T, E>)>;

impl Fleet {
    /// Asks all at once, so that one that is away delays nobody.
    pub(super) fn ask<T: Send, E: Send>(
        &mut self,
        question: impl Fn(&mut Admin) -> Result<T, E> + Sync,
    ) -> Answers<T, E> {
        let question = &question;
        thread::scope(|scope| {
            let asked: Vec<_> = self
                .admins
                .iter_mut()
                .map(|admin| scope.spawn(move || (admin.server().clone(), question(admin))))
                .collect();
            let answer = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            asked.into_iter().map(answer).collect()
        })
    }
}
