//! `roost exec`: a command in an instance, over one WebSocket.
//!
//! The first byte of a message is its channel (types `stream`). With a terminal the local one is raw until the command
//! ends, follows its size, and sends every key; without one SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on.

use std::io::IsTerminal;
use std::process::ExitCode;

use roost_types::stream::Resize;
use tokio::sync::mpsc;

use super::stream::{self, converse, read_stdin};
use super::terminal::{Listener, RawTerminal, told_to_end, window_size};
use crate::args::ExecArgs;
use crate::client::{Client, segment};
use crate::error::CliError;

/// The command could not be run in the instance.
const CANNOT_RUN: u8 = 125;

/// Runs a command and gives back its exit status: 125 when it could not be tried, 126 when it cannot be executed, 127
/// when there is no such command, 128 + n when signal n ended it.
pub async fn exec(client: &Client, args: ExecArgs) -> Result<ExitCode, CliError> {
    if args.tty && args.stdin && !std::io::stdin().is_terminal() {
        return Err(CliError::Usage("standard input is not a terminal: leave -t out".into()));
    }
    match run(client, args).await {
        Err(error) => {
            eprintln!("{}", error.for_people());
            Ok(ExitCode::from(CANNOT_RUN))
        }
        ended => ended,
    }
}

async fn run(client: &Client, args: ExecArgs) -> Result<ExitCode, CliError> {
    let size = window_size().filter(|_| args.tty);
    let socket = stream::open(client, &path_of(&args, size)).await?;
    // Put back when this function is left, however that comes about.
    let raw = (args.tty && args.stdin).then(RawTerminal::enter).transpose()?;
    let (send, outgoing) = mpsc::channel::<Vec<u8>>(16);
    if args.stdin {
        let send = send.clone();
        std::thread::spawn(move || read_stdin(&send));
    }
    tokio::spawn(if args.tty { Listener::Sizes } else { Listener::Signals }.listen(send));
    let end = tokio::select! {
        end = converse(socket, outgoing) => end?,
        signal = told_to_end(), if raw.is_some() => return Ok(status(128 + signal)),
    };
    drop(raw);
    if let Some(error) = end.error {
        eprintln!("error: {error}");
    }
    Ok(end.exit.map_or(ExitCode::from(CANNOT_RUN), |exit| status(exit.code)))
}

fn status(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}

/// The path of the exec with its query.
fn path_of(args: &ExecArgs, size: Option<Resize>) -> String {
    let words = args.command.iter().map(|word| format!("command={}", segment(word)));
    let env = args.env.iter().map(|(name, value)| format!("env={}", segment(&format!("{name}={value}"))));
    let how = [("user", &args.user), ("workdir", &args.workdir)];
    let how = how.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", segment(value.as_ref()?))));
    let words: Vec<String> = words.chain(env).chain(how).collect();
    let size = size.map(|s| format!("&cols={}&rows={}", s.cols, s.rows)).unwrap_or_default();
    let (instance, words) = (segment(&args.instance), words.join("&"));
    format!("/v1/instances/{instance}/exec?{words}&tty={}&stdin={}{size}", args.tty, args.stdin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_travels_word_by_word() {
        let args = ExecArgs {
            stdin: true,
            tty: true,
            instance: "web".into(),
            env: vec![("A".into(), "1=2".into())],
            user: Some("app:0".into()),
            workdir: Some("/srv/a b".into()),
            command: vec!["sh".into(), "-c".into(), "a b&c".into()],
        };
        assert_eq!(
            path_of(&args, Some(Resize { cols: 80, rows: 24 })),
            "/v1/instances/web/exec?command=sh&command=-c&command=a%20b%26c&env=A%3D1%3D2&user=app%3A0&workdir=%2Fsrv%2Fa%20b&tty=true&stdin=true&cols=80&rows=24"
        );
    }
}
