//! One hub's line: opened, read, and opened again for ever.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roost_model::{Command, HubWish};
use roost_types::rack::HubConfig;
use serialport::{ClearBuffer, SerialPort, TTYPort};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::book::Book;

/// Speed of the line.
const BAUD: u32 = 115_200;
/// How long one read waits: bounds how late a report or a stop is.
const READ_TIMEOUT: Duration = Duration::from_millis(100);
/// Reports are at least so far apart.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// A hub that sends no good frame for so long is lost.
const SILENCE: Duration = Duration::from_secs(10);
/// The first pause before a port is opened again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the hub should do now; none when the controller itself has not lived for a while, so that the hub's fail-safe
/// takes over.
pub(super) type Wishes = Box<dyn Fn() -> Option<HubWish> + Send>;

/// A thread's work.
pub(super) struct Line {
    hub: HubConfig,
    wishes: Wishes,
    reports: mpsc::Sender<Command>,
    stop: Arc<AtomicBool>,
    book: Book,
    last_report: Instant,
    /// The core was told that the hub is lost (or has never heard of it).
    lost: bool,
    /// Why the port could last not be opened: said once, not with every attempt.
    trouble: String,
}

impl Line {
    /// Commands are numbered from `seq`, a number of chance.
    pub(super) fn new(
        hub: HubConfig,
        seq: u16,
        wishes: Wishes,
        reports: mpsc::Sender<Command>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let now = Instant::now();
        let book = Book::new(now, seq);
        Self { hub, wishes, reports, stop, book, last_report: now, lost: true, trouble: String::new() }
    }

    /// Works until told to stop.
    pub(super) fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        while !self.stopped() {
            match open(&self.hub.path) {
                Ok(port) => {
                    tracing::info!(hub.name = %self.hub.name, path = self.hub.path, "the hub's line is open");
                    self.trouble.clear();
                    let reason = self.read(port);
                    if self.book.last_good().is_some() {
                        pause = FIRST_PAUSE;
                    }
                    self.lose(&reason);
                }
                Err(error) => self.say_once(&error.to_string()),
            }
            self.sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn say_once(&mut self, error: &str) {
        if self.trouble != error {
            error.clone_into(&mut self.trouble);
            tracing::warn!(hub.name = %self.hub.name, path = self.hub.path, error, "the hub's line cannot be opened; trying on");
        }
    }

    /// Reads and tells until the line closes; says why it did.
    fn read(&mut self, mut port: TTYPort) -> String {
        self.book.reopen();
        let opened = Instant::now();
        let mut bytes = [0; 1024];
        while !self.stopped() {
            match port.read(&mut bytes) {
                Ok(0) => return "the line was closed".to_owned(),
                Ok(count) => self.book.take(&bytes[..count], Instant::now()),
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(error) => return format!("the line was closed: {error}"),
            }
            if let Err(error) = self.tell(&mut port) {
                return format!("the line was closed: {error}");
            }
            self.report();
            if self.book.last_good().unwrap_or(opened).elapsed() > SILENCE {
                self.lose("no good frame for 10 s");
            }
        }
        "the controller is stopping".to_owned()
    }

    /// Tells the hub what is due. A line that takes nothing now is tried again: what was not answered is sent again.
    fn tell(&mut self, port: &mut TTYPort) -> std::io::Result<()> {
        let Some(wish) = (self.wishes)() else { return Ok(()) };
        for line in self.book.commands(&wish, Instant::now()) {
            match port.write_all(&line) {
                Err(error) if !matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                    return Err(error);
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn report(&mut self) {
        if self.last_report.elapsed() < REPORT_EVERY || self.reports.capacity() == 0 {
            return;
        }
        if let Some(command) = self.book.report(&self.hub.name) {
            self.last_report = Instant::now();
            if self.book.last_good().is_some_and(|at| at.elapsed() < SILENCE) {
                self.lost = false;
            }
            self.send(command);
        }
    }

    fn lose(&mut self, reason: &str) {
        if !self.lost {
            self.lost = true;
            tracing::warn!(hub.name = %self.hub.name, reason, "the hub is lost");
            self.send(Command::HubLost { hub: self.hub.name.clone(), reason: reason.to_owned() });
        }
    }

    /// A loss must not be forgotten, so this waits for room; reports are only made when there is some.
    fn send(&self, mut command: Command) {
        while let Err(TrySendError::Full(back)) = self.reports.try_send(command) {
            if self.stopped() {
                return;
            }
            command = back;
            std::thread::sleep(READ_TIMEOUT);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn sleep(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.stopped() && Instant::now() < until {
            std::thread::sleep(READ_TIMEOUT.min(pause));
        }
    }
}

/// Opens a port and forgets what the operating system kept from before.
fn open(path: &str) -> serialport::Result<TTYPort> {
    // Not exclusive: others (a person with a terminal, the simulator) may have the same line open.
    let port = serialport::new(path, BAUD).timeout(READ_TIMEOUT).exclusive(false).open_native()?;
    port.clear(ClearBuffer::Input)?;
    Ok(port)
}
