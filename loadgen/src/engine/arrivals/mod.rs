//! When the jobs of an open loop are due: what is asked for ([`Rate`]), the times
//! that follow from it ([`Schedule`]), and a thread's part of them ([`Agenda`]).

mod agenda;
mod rate;
mod schedule;

pub(crate) use agenda::{Agenda, Due};
pub(crate) use rate::{Rate, Slope};
pub(crate) use schedule::{Arrivals, Schedule};
