//! The console of an instance with its own init, on a terminal of the test's own.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::until;

/// `roost` with a terminal: util-linux's `script` makes one.
pub struct Typist {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Typist {
    pub fn start(rack: &Rack, words: &[&str]) -> Result<Self> {
        let roost = rack.command();
        let line = format!("{} {}", roost.get_program().to_string_lossy(), words.join(" "));
        let mut script = std::process::Command::new("script");
        for (name, value) in roost.get_envs() {
            script.env(name, value.unwrap_or_default());
        }
        // With a status of its own, and no file.
        script.args(["-q", "-e", "-c", &format!("stty rows 33 cols 111; {line}"), "/dev/null"]);
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().context("start script, of bsdutils")?;
        let keys = child.stdin.take().context("no input")?;
        let mut from = child.stdout.take().context("no output")?;
        let shown = Arc::new(Mutex::new(String::new()));
        let show = Arc::clone(&shown);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                show.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { child, keys, shown })
    }

    /// Waits until it shows this after what was waited for before.
    pub fn shows(&self, part: &str) -> Result<()> {
        let mut last = String::new();
        let seen = until(&format!("the terminal shows {part:?}"), || {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            last.clone_from(&shown);
            let Some(at) = shown.find(part) else { return Ok(None) };
            shown.drain(..at + part.len());
            Ok(Some(()))
        });
        seen.with_context(|| format!("it shows {last:?}"))
    }

    pub fn types(&mut self, keys: &str) -> Result<()> {
        // A shell takes keys itself until its prompt is there.
        thread::sleep(Duration::from_millis(200));
        self.keys.write_all(keys.as_bytes()).context("type")
    }

    pub fn ends(mut self) -> Result<i32> {
        let ended = until("the program on the terminal has ended", || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.child.kill()?;
            self.child.wait()?;
        }
        ended?.code().context("killed by a signal")
    }
}

pub fn a_console_is_a_terminal_with_what_was_before(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "box"])?;
    let mut first = Typist::start(rack, &["console", "box"])?;
    first.shows("Ctrl-a q detaches")?;
    first.types("\n")?;
    first.shows("# ")?;
    first.types("echo $((6 * 7)) answers; stty size\n")?;
    first.shows("42 answers")?;
    first.shows("33 111")?;
    first.types("sleep 1000\n")?;
    first.types("\x03")?;
    first.shows("# ")?;
    first.types("echo interrupted $?\n")?;
    first.shows("interrupted 130")?;
    // The prefix twice is the prefix once: the shell gets it, and nobody is detached.
    first.types("\x01\x01echo still here\n")?;
    first.shows("still here")?;
    first.types("\x01q")?;
    first.shows("detached from the console of box")?;
    ensure!(first.ends()? == 0, "detaching is no failure");

    let second = Typist::start(rack, &["console", "box"])?;
    second.shows("42 answers")?;
    let logs = rack.roost(&["logs", "box"])?;
    ensure!(logs.contains("42 answers\n"), "the console is not in the log: {logs}");
    rack.roost(&["stop", "box"])?;
    second.shows("box has stopped")?;
    ensure!(second.ends()? == 0, "an instance that stops is no failure");

    let refused = rack.run(&["console", "box"])?;
    ensure!(refused.code == 1 && refused.stderr.contains("not_running"), "{refused:?}");
    rack.roost(&["launch", "busybox", "app", "--", "sleep", "1000"])?;
    let refused = rack.run(&["console", "app"])?;
    ensure!(refused.code == 1 && refused.stderr.contains("exec -it"), "{refused:?}");
    Ok(())
}

pub fn exec_on_a_terminal_feels_like_a_shell(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "box", "--", "sleep", "100000"])?;
    let mut shell = Typist::start(rack, &["exec", "-it", "-e", "ANSWER=42", "box", "--", "sh"])?;
    shell.shows("# ")?;
    shell.types("stty size; echo the $ANSWER answers\n")?;
    shell.shows("33 111")?;
    shell.shows("the 42 answers")?;
    shell.types("sleep 1000\n")?;
    shell.types("\x03")?;
    shell.shows("# ")?;
    shell.types("exit 7\n")?;
    ensure!(shell.ends()? == 7, "the status of the shell");
    // The terminal is as it was, whatever ended the program.
    let pid = rack.scratch("terminal")?.join("pid").display().to_string();
    let roost = rack.command().get_program().to_string_lossy().into_owned();
    let killed = format!(
        "list -q >/dev/null; (sleep 3; kill $(cat {pid})) & sh -c 'echo $$ >{pid}; exec {roost} exec -it box -- \
         sleep 1000'; echo status $?; stty -a"
    );
    let terminal = Typist::start(rack, &[&killed])?;
    terminal.shows("status 143")?;
    terminal.shows(" icanon")?;
    ensure!(terminal.ends()? == 0, "the terminal");
    for (words, status) in [
        (&["exec", "box", "--", "no-such-command"][..], 127),
        (&["exec", "box", "--", "/etc/passwd"][..], 126),
        (&["exec", "box", "--", "sh", "-c", "kill -TERM $$"][..], 143),
        (&["exec", "nobody", "--", "true"][..], 125),
    ] {
        let said = rack.run(words)?;
        ensure!(said.code == status && (status > 127 || !said.stderr.is_empty()), "{words:?}: {said:?}");
    }
    Ok(())
}
