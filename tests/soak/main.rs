//! Soak: what a thousand deaths, two builds and a thousand lives of instances leave behind on a board.
//!
//! A few of each in every run; `cargo xtask test --soak` does as many as the promises name and publishes what it saw.
//! `ROOST_SEED` repeats a run.

mod blade;
mod cycles;
mod execs;
mod fifty;
mod growth;
mod random;

use std::process::ExitCode;

use anyhow::Result;
use roost_tests::board::Board;
use roost_tests::repeated;
use roost_tests::suite::{self, World};

struct Soak {
    board: Board,
}

impl World for Soak {
    fn start() -> Result<Self> {
        Ok(Self { board: Board::start("soak")? })
    }

    fn tidy(&mut self) -> Result<()> {
        self.board.ensure_agent()?;
        self.board.empty()
    }

    fn stop(self) -> Result<()> {
        self.board.stop()
    }

    fn tell(&self) -> String {
        self.board.said()
    }
}

fn main() -> ExitCode {
    suite::run::<Soak>(&[
        ("what_an_instance_has_is_seen", |w| cycles::what_an_instance_has_is_seen(&w.board)),
        ("kills_at_any_step_leave_nothing", |w| {
            cycles::kills_at_any_step_leave_nothing(&mut w.board, repeated(40, 1000), random::seed())
        }),
        ("addresses_are_given_back", |w| cycles::addresses_are_given_back(&w.board)),
        ("fifty_containers_outlive_agents_of_two_builds", |w| {
            fifty::containers_outlive_agents_of_two_builds(&mut w.board, repeated(2, 20))
        }),
        ("cycles_without_a_kill_grow_nothing", |w| {
            growth::cycles_without_a_kill_grow_nothing(&w.board, repeated(24, 1000))
        }),
        ("exec_clients_that_vanish_leave_nothing", |w| {
            execs::clients_that_vanish_leave_nothing(&w.board, repeated(20, 1000))
        }),
    ])
}
