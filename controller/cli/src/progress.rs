//! Progress on standard error: a spinner on a terminal, plain lines otherwise. Standard output is for results only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// One step of work that is shown while it lasts.
pub struct Step {
    bar: Option<ProgressBar>,
    quiet: bool,
    last: String,
}

impl Step {
    /// Begins a step. With `quiet` nothing is shown.
    #[must_use]
    pub fn begin(text: impl Into<String>, quiet: bool) -> Self {
        let text = text.into();
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.set_message(text.clone());
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        Self { bar, quiet, last: text }
    }

    /// Says how far it is; the same text twice is shown once.
    pub fn say(&mut self, text: impl Into<String>) {
        let text = text.into();
        if text == self.last {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(text.clone()),
            None if !self.quiet => eprintln!("{text}"),
            None => {}
        }
        self.last = text;
    }

    /// Ends the step with a last line that stays.
    pub fn done(self, text: impl AsRef<str>) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if !self.quiet {
            eprintln!("{}", text.as_ref());
        }
    }

    /// Ends the step and leaves nothing on a terminal.
    pub fn clear(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Bytes on their way, shown on a terminal while they are.
#[derive(Clone)]
pub struct Transfer {
    bar: Option<ProgressBar>,
}

impl Transfer {
    /// Begins one. With `quiet`, and where nobody looks, nothing is shown.
    #[must_use]
    pub fn begin(what: &str, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg}: {bytes} ({bytes_per_sec})");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar }
    }

    /// As [`Transfer::begin`], with a bar where it is known how many bytes there are in all.
    #[must_use]
    pub fn of(what: &str, total: Option<u64>, quiet: bool) -> Self {
        let transfer = Self::begin(what, quiet);
        if let (Some(bar), Some(total)) = (&transfer.bar, total) {
            bar.set_length(total);
            let style =
                ProgressStyle::with_template("{msg}: {bar:30} {bytes} of {total_bytes} ({bytes_per_sec}, {eta})");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
        transfer
    }

    /// So many more.
    pub fn add(&self, bytes: usize) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes as u64);
        }
    }

    /// Ends it and leaves nothing on the terminal.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
