//! `roost hub flash`: writes the firmware into an Arduino with avrdude.
//!
//! The firmware is the one this program carries, built for the board, or a file. avrdude is started with a list of
//! arguments, never through a shell. It checks what it wrote by reading it back.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::args::{Board, FlashArgs};
use crate::context;
use crate::dev::firmware;
use crate::error::CliError;
use crate::progress::Step;

const AVRDUDE: &str = "avrdude";

/// Writes the firmware.
///
/// # Errors
/// When the port is not there or in use, the firmware cannot be built, or avrdude is missing or fails.
pub async fn flash(args: FlashArgs) -> Result<(), CliError> {
    let port = std::path::absolute(&args.port)
        .map_err(|e| CliError::step(format!("finding the port {}", args.port.display()), e))?;
    if !args.dry_run {
        ready(&port)?;
    }
    let hex = match &args.hex {
        Some(hex) => existing(hex)?,
        None if args.dry_run => PathBuf::from("hub.hex"),
        None => built(args.board).await?,
    };
    let (directory, file) = split(&hex)?;
    let words = arguments(args.board, &port, &file);
    if args.dry_run {
        let shown = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        return crate::output::print(&format!("{AVRDUDE} {shown}\n"));
    }
    run(Path::new(AVRDUDE), &directory, &words).await
}

/// Whether a port is there and nobody else reads it.
fn ready(port: &Path) -> Result<(), CliError> {
    if !port.exists() {
        return Err(CliError::Failed(format!(
            "there is no port {}: is the Arduino plugged in? `ls /dev/serial/by-id/` shows what is",
            port.display()
        )));
    }
    match user_of(port) {
        Some(user) => Err(CliError::Failed(format!(
            "{user} has {} open, and would take bytes that are avrdude's: stop it, flash, start it again",
            port.display()
        ))),
        None => Ok(()),
    }
}

async fn built(board: Board) -> Result<PathBuf, CliError> {
    let step = Step::begin("building the firmware", false);
    let hex = firmware::build_hex(&context::cache(), facts(board).firmware).await;
    match &hex {
        Ok(_) => step.done("built the firmware"),
        Err(_) => step.clear(),
    }
    hex
}

fn existing(hex: &Path) -> Result<PathBuf, CliError> {
    hex.canonicalize().map_err(|e| CliError::step(format!("reading the firmware {}", hex.display()), e))
}

/// Directory and name: avrdude takes the name between colons, so that it is run in the directory and the name has none.
fn split(hex: &Path) -> Result<(PathBuf, OsString), CliError> {
    let name = hex.file_name().unwrap_or_default();
    if name.to_string_lossy().contains(':') {
        return Err(CliError::Usage(format!("avrdude takes no file with ':' in its name: rename {}", hex.display())));
    }
    let directory = hex.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((directory.to_owned(), name.to_owned()))
}

/// What avrdude and make must know of a board.
struct Facts {
    part: &'static str,
    programmer: &'static str,
    baud: &'static str,
    firmware: &'static str,
}

const fn facts(board: Board) -> Facts {
    match board {
        Board::Uno => Facts { part: "atmega328p", programmer: "arduino", baud: "115200", firmware: "uno" },
        Board::Nano => Facts { part: "atmega328p", programmer: "arduino", baud: "115200", firmware: "nano" },
        Board::NanoOld => Facts { part: "atmega328p", programmer: "arduino", baud: "57600", firmware: "nano" },
        Board::Mega => Facts { part: "atmega2560", programmer: "wiring", baud: "115200", firmware: "mega" },
    }
}

/// avrdude's arguments. `-D`: these boot loaders erase page by page.
fn arguments(board: Board, port: &Path, file: &OsString) -> Vec<OsString> {
    let Facts { part, programmer, baud, firmware: _ } = facts(board);
    let mut write = OsString::from("flash:w:");
    write.push(file);
    write.push(":i");
    let mut words: Vec<OsString> = ["-p", part, "-c", programmer, "-b", baud, "-P"].map(OsString::from).into();
    words.extend([port.as_os_str().to_owned(), "-D".into(), "-U".into(), write]);
    words
}

/// A process that has a port open, by name and id. One that may not be looked at is not found.
fn user_of(port: &Path) -> Option<String> {
    let device = port.canonicalize().ok()?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    for process in processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()) {
        let Ok(open) = std::fs::read_dir(process.path().join("fd")) else { continue };
        if open.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == device)) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {})", name.trim(), process.file_name().to_string_lossy()));
        }
    }
    None
}

async fn run(program: &Path, directory: &Path, words: &[OsString]) -> Result<(), CliError> {
    let status = Command::new(program).args(words).current_dir(directory).kill_on_drop(true).status().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CliError::Failed(format!("avrdude failed ({status}): what it said is above"))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(CliError::Failed("avrdude is missing: install it, for example with `apt install avrdude`".into()))
        }
        Err(error) => Err(CliError::step("starting avrdude", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(board: Board) -> String {
        let words = arguments(board, Path::new("/dev/ttyACM0"), &"hub.hex".into());
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_board_has_its_chip_and_its_boot_loader() {
        for (board, begin) in [
            (Board::Uno, "-p atmega328p -c arduino -b 115200"),
            (Board::Nano, "-p atmega328p -c arduino -b 115200"),
            (Board::NanoOld, "-p atmega328p -c arduino -b 57600"),
            (Board::Mega, "-p atmega2560 -c wiring -b 115200"),
        ] {
            assert_eq!(line(board), format!("{begin} -P /dev/ttyACM0 -D -U flash:w:hub.hex:i"));
        }
    }

    #[test]
    fn whatever_a_port_is_called_it_is_one_argument() {
        let port = Path::new("/dev/tty A;reboot $(x)");
        let words = arguments(Board::Uno, port, &"hub.hex".into());
        assert_eq!(words.iter().filter(|word| *word == port.as_os_str()).count(), 1);
        assert_eq!(words.len(), 11);
    }

    #[test]
    fn a_file_is_named_without_its_directory() {
        let (directory, file) = split(Path::new("/a:b/hub.hex")).unwrap();
        assert_eq!((directory.as_path(), file.to_str()), (Path::new("/a:b"), Some("hub.hex")));
        assert!(matches!(split(Path::new("/a/c:hub.hex")), Err(CliError::Usage(_))));
    }

    #[test]
    fn who_has_a_port_open_is_found() {
        let path = std::env::temp_dir().join(format!("roost-flash-port-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        let user = user_of(&path);
        assert!(user.as_ref().is_some_and(|user| user.contains(&std::process::id().to_string())), "{user:?}");
        drop(file);
        assert_eq!(user_of(&path), None);
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_missing_and_a_failing_avrdude_are_told() {
        let here = Path::new(".");
        let missing = run(Path::new("/nowhere/avrdude"), here, &[]).await.unwrap_err().to_string();
        assert!(missing.contains("avrdude is missing") && missing.contains("apt install avrdude"), "{missing}");
        let failing = run(Path::new("/bin/false"), here, &[]).await.unwrap_err().to_string();
        assert!(failing.contains("exit status: 1"), "{failing}");
        assert!(run(Path::new("/bin/true"), here, &["-P".into()]).await.is_ok());
    }
}
