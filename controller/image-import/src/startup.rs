//! How an image wants to be started, as data: a closed set of fields, each checked, nothing that is looked up, expanded or
//! run on this machine.

use std::collections::BTreeMap;

use roost_types::RunAs;
use roost_types::image::Startup;

use crate::error::ImportError;
use crate::oci::schema::Runtime;
use crate::stop_signal;

/// Words in a command; a launch request may have as many.
const MAX_WORDS: usize = 128;
/// Bytes in a command.
const MAX_COMMAND_BYTES: usize = 4096;
/// Environment variables.
const MAX_ENV: usize = 128;
/// Bytes of a variable's name.
const MAX_KEY: usize = 128;
/// Bytes of a variable's value.
const MAX_VALUE: usize = 4096;
/// Bytes of the working directory.
const MAX_PATH: usize = 4096;

/// From an image's configuration.
///
/// # Errors
/// When a field holds what no launch request may hold.
pub fn from_config(runtime: Runtime) -> Result<Startup, ImportError> {
    let mut command = runtime.entrypoint.unwrap_or_default();
    command.extend(runtime.cmd.unwrap_or_default());
    let workdir = runtime.working_dir.unwrap_or_default();
    let user = runtime.user.unwrap_or_default();
    let bytes: usize = command.iter().map(String::len).sum();
    if command.len() > MAX_WORDS || bytes > MAX_COMMAND_BYTES || command.iter().any(|word| word.contains('\0')) {
        return Err(refused(format!(
            "its command has more than {MAX_WORDS} words or {MAX_COMMAND_BYTES} bytes, or a NUL byte"
        )));
    }
    if command.first().is_some_and(String::is_empty) {
        return Err(refused("its command's program has no name".to_owned()));
    }
    if !workdir.is_empty() && !is_clean_path(&workdir) {
        return Err(refused("its working directory is not an absolute path without '..'".to_owned()));
    }
    // As others read it, a colon with nothing behind it says nothing.
    let user = user.strip_suffix(':').unwrap_or(&user).to_owned();
    if !user.is_empty() {
        let unusable = |why| refused(format!("its user cannot be used: {why}"));
        user.parse::<RunAs>().map_err(unusable)?;
    }
    let stop_signal = runtime.stop_signal.filter(|text| !text.is_empty()).map(|text| stop_signal::number(&text));
    let stop_signal = stop_signal.transpose().map_err(refused)?;
    Ok(Startup { command, env: environment(runtime.env.unwrap_or_default())?, workdir, user, stop_signal })
}

fn refused(text: String) -> ImportError {
    ImportError::Archive(text)
}

fn is_clean_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_PATH
        && !path.contains(['\0', '\n'])
        && path.split('/').all(|part| part != "..")
}

fn environment(lines: Vec<String>) -> Result<BTreeMap<String, String>, ImportError> {
    if lines.len() > MAX_ENV {
        return Err(refused(format!("it has more than {MAX_ENV} environment variables")));
    }
    let mut env = BTreeMap::new();
    for line in lines {
        let (key, value) = line.split_once('=').unwrap_or((&line, ""));
        let starts_well = key.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let all_allowed = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let value_allowed = value.len() <= MAX_VALUE && !value.contains(['\0', '\n']);
        if !starts_well || !all_allowed || key.len() > MAX_KEY || !value_allowed {
            let key = crate::error::printable(key.as_bytes());
            return Err(refused(format!("its environment variable '{key}' cannot be set")));
        }
        env.insert(key.to_owned(), value.to_owned());
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(edit: impl FnOnce(&mut Runtime)) -> Result<Startup, ImportError> {
        let mut runtime = Runtime::default();
        edit(&mut runtime);
        from_config(runtime)
    }

    #[test]
    fn entry_point_and_arguments_become_one_command() {
        let startup = runtime(|r| {
            r.entrypoint = Some(vec!["/bin/app".into()]);
            r.cmd = Some(vec!["--serve".into()]);
            r.env = Some(vec!["PATH=/bin".into(), "EMPTY=".into(), "X=a=b".into()]);
            r.working_dir = Some("/srv".into());
            r.user = Some("app:app".into());
            r.stop_signal = Some("SIGQUIT".into());
        });
        let startup = startup.unwrap();
        assert_eq!(startup.command, ["/bin/app", "--serve"]);
        assert_eq!(startup.env["X"], "a=b");
        assert_eq!((startup.workdir.as_str(), startup.user.as_str()), ("/srv", "app:app"));
        assert_eq!(startup.stop_signal, Some(3));
        assert_eq!(runtime(|r| r.user = Some("1000:".into())).unwrap().user, "1000");
    }

    #[test]
    fn what_could_steer_a_host_is_refused() {
        type Edit = fn(&mut Runtime);
        let refused: [(&str, Edit); 12] = [
            ("line break in env", |r| r.env = Some(vec!["A=x\nB=y".into()])),
            ("odd variable", |r| r.env = Some(vec!["A B=x".into()])),
            ("no variable", |r| r.env = Some(vec!["=x".into()])),
            ("many variables", |r| r.env = Some(vec!["A=x".into(); 129])),
            ("NUL in command", |r| r.cmd = Some(vec!["a\0b".into()])),
            ("many words", |r| r.cmd = Some(vec!["a".into(); 129])),
            ("nameless program", |r| r.cmd = Some(vec![String::new()])),
            ("climbing directory", |r| r.working_dir = Some("/a/../../etc".into())),
            ("relative directory", |r| r.working_dir = Some("srv".into())),
            ("odd user", |r| r.user = Some("root;reboot".into())),
            ("a user beyond 32 bits", |r| r.user = Some("4294967296".into())),
            ("odd signal", |r| r.stop_signal = Some("SIGTERM; reboot".into())),
        ];
        for (what, edit) in refused {
            assert!(runtime(edit).is_err(), "{what}");
        }
    }
}
