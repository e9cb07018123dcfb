//! What the two ends of a copy mean, and what a copy makes of them.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use roost_types::FileKind;

use crate::client::{Client, segment};
use crate::error::CliError;

/// One end of a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// `-`: a tar archive on a standard stream.
    Stream,
    /// A path on this machine.
    Here(PathBuf),
    /// A path in an instance.
    There(There),
}

/// A path in an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct There {
    /// Name or id.
    pub instance: String,
    /// From its root.
    pub path: String,
}

impl Place {
    /// What an argument means. `./a:b` and `/a:b` are paths here.
    #[must_use]
    pub fn of(argument: &str) -> Self {
        match There::of(argument) {
            Some(there) => Self::There(there),
            None if argument == "-" => Self::Stream,
            None => Self::Here(argument.into()),
        }
    }
}

impl There {
    /// `INSTANCE:PATH`; a path that does not begin with `/` begins at the root all the same.
    #[must_use]
    pub fn of(argument: &str) -> Option<Self> {
        let (instance, path) = argument.split_once(':')?;
        if instance.is_empty() || instance.contains('/') || instance.starts_with('.') {
            return None;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Self { instance: instance.to_owned(), path })
    }

    /// What a verb that only works in an instance was given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn required(argument: &str) -> Result<Self, CliError> {
        Self::of(argument).ok_or_else(|| CliError::Usage(format!("'{argument}' is not INSTANCE:PATH")))
    }
}

/// The path of the API for a file, with its query so far.
#[must_use]
pub fn files_path(there: &There, path: &str) -> String {
    format!("/v1/instances/{}/files?path={}", segment(&there.instance), segment(path))
}

/// What is at a path in an instance, links followed; none when nothing is there.
///
/// # Errors
/// As [`Client::send`].
pub async fn kind_there(client: &Client, there: &There) -> Result<Option<FileKind>, CliError> {
    let path = files_path(there, &there.path);
    let answer = client.request(Method::HEAD, &path).send().await.map_err(|e| client.unreachable(&e))?;
    match answer.status() {
        StatusCode::OK => Ok(answer.headers().get("x-roost-type").and_then(|value| kind_of(value.to_str().ok()?))),
        StatusCode::NOT_FOUND => Ok(None),
        // Something that is not to be read is there all the same.
        _ => match client.send(client.request(Method::GET, &path)).await {
            Err(CliError::Refused(problem)) if problem.code == roost_types::Code::Conflict => {
                Ok(Some(FileKind::Special))
            }
            Err(error) => Err(error),
            Ok(_) => Ok(None),
        },
    }
}

fn kind_of(text: &str) -> Option<FileKind> {
    [FileKind::File, FileKind::Directory, FileKind::Symlink, FileKind::Special]
        .into_iter()
        .find(|kind| kind.as_str() == text)
}

/// Where what is copied is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Landing {
    /// The directory it is made in.
    pub directory: String,
    /// Its name there; none when only what is in it is copied.
    pub name: Option<String>,
}

/// What a copy makes, as `docker cp` decides it: `source` is the last part of what is copied, `is_directory` what it is,
/// `contents` whether only what is in it is copied (`SOURCE/.`), and `there` what the destination is.
///
/// # Errors
/// When a directory would replace a file, or a file's directory is not there.
pub fn landing(
    destination: &str,
    there: Option<FileKind>,
    source: &str,
    is_directory: bool,
    contents: bool,
) -> Result<Landing, CliError> {
    let named = || {
        let trimmed = destination.trim_end_matches('/');
        let (above, name) = trimmed.rsplit_once('/').unwrap_or((".", trimmed));
        let directory = if above.is_empty() { "/" } else { above };
        Landing { directory: directory.to_owned(), name: Some(name.to_owned()) }
    };
    match there {
        Some(FileKind::Directory) => {
            let name = (!contents).then(|| source.to_owned());
            Ok(Landing { directory: destination.to_owned(), name })
        }
        Some(FileKind::File | FileKind::Symlink | FileKind::Special) if is_directory => {
            Err(CliError::Failed(format!("'{destination}' is a file: a directory cannot take its place")))
        }
        Some(FileKind::File | FileKind::Symlink | FileKind::Special) => Ok(named()),
        None if destination.ends_with('/') && !is_directory => {
            Err(CliError::Failed(format!("there is no directory '{destination}' to copy a file into")))
        }
        None => Ok(named()),
    }
}

/// Whether a path asks for what is in a directory only: `SOURCE/.`.
#[must_use]
pub fn is_contents(path: &str) -> bool {
    path == "." || path.ends_with("/.") || path.trim_end_matches('/').is_empty()
}

/// The last part of a path.
#[must_use]
pub fn last_part(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_here_there_or_a_stream() {
        let there = |path: &str| Place::There(There { instance: "web".into(), path: path.into() });
        assert_eq!(Place::of("web:/etc/hosts"), there("/etc/hosts"));
        assert_eq!(Place::of("web:srv"), there("/srv"));
        assert_eq!(Place::of("web:"), there("/"));
        assert_eq!(Place::of("-"), Place::Stream);
        for here in ["./a:b", "/a:b", "../a:b", "dir/a:b", ":x", "a", ".:x"] {
            assert_eq!(Place::of(here), Place::Here(here.into()));
        }
    }

    #[test]
    fn it_lands_where_docker_cp_lands() {
        use FileKind::{Directory, File};
        let to = |directory: &str, name: Option<&str>| Landing {
            directory: directory.into(),
            name: name.map(str::to_owned),
        };
        for (destination, there, is_directory, contents, expected) in [
            ("/srv", Some(Directory), false, false, to("/srv", Some("src"))),
            ("/srv/", Some(Directory), true, false, to("/srv/", Some("src"))),
            ("/srv", Some(Directory), true, true, to("/srv", None)),
            ("/srv/f", Some(File), false, false, to("/srv", Some("f"))),
            ("/srv/new", None, false, false, to("/srv", Some("new"))),
            ("/new", None, true, false, to("/", Some("new"))),
            ("new/", None, true, true, to(".", Some("new"))),
        ] {
            let landed = landing(destination, there, "src", is_directory, contents).unwrap();
            assert_eq!(landed, expected, "{destination} {there:?} {is_directory} {contents}");
        }
        assert!(landing("/srv/f", Some(File), "src", true, false).is_err());
        assert!(landing("/srv/", None, "src", false, false).is_err());
    }

    #[test]
    fn contents_are_asked_for_with_a_dot() {
        assert!(is_contents("site/.") && is_contents(".") && is_contents("/"));
        assert!(!is_contents("site") && !is_contents("site/") && !is_contents("a."));
        assert_eq!((last_part("/a/b/"), last_part("b"), last_part("/")), ("b", "b", ""));
    }
}
