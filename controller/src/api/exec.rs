//! `GET /v1/instances/{i}/exec`: a process in a running container, as a WebSocket (messages: `roost_types::stream`).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use roost_types::file::check_path;
use roost_types::stream::{Resize, StreamKind};
use roost_types::{Code, Problem, RunAs};

use super::extract::{Query, Ref};
use super::problem::{ApiError, ApiResult};
use crate::agents::streams::{Upgrade, splice};
use crate::state::App;

/// A terminal nobody gave a size.
const DEFAULT_SIZE: Resize = Resize { cols: 80, rows: 24 };

/// Runs a command in an instance. Becomes a WebSocket once the node has opened the stream.
#[utoipa::path(get, path = "/v1/instances/{instance}/exec", tag = "instances",
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id"),
        ("command" = Vec<String>, Query, description = "Command and arguments, one parameter each"),
        ("env" = Option<Vec<String>>, Query, description = "`NAME=value`, one parameter each"),
        ("tty" = Option<bool>, Query), ("stdin" = Option<bool>, Query),
        ("cols" = Option<u16>, Query), ("rows" = Option<u16>, Query),
        ("user" = Option<String>, Query, description = "`USER[:GROUP]`, each a name of the instance or a number from 0 to \
            65535; as whom the instance's own command runs when absent"),
        ("workdir" = Option<String>, Query, description = "The directory to begin in; where the instance's own command \
            began when absent")),
    responses((status = 101), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn exec(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    Query(parameters): Query<Vec<(String, String)>>,
    upgrade: Upgrade,
) -> ApiResult<Response> {
    let kind = request(&parameters).map_err(ApiError)?;
    let (node, allocation) = app.core.snapshot().running(&instance)?;
    if asks_how(&kind) {
        app.core.snapshot().runs_as(node)?;
    }
    let agent = app.streams.open(&app.core, node, allocation, kind).await?;
    Ok(upgrade.on_upgrade(move |user| splice(user, agent)))
}

fn request(parameters: &[(String, String)]) -> Result<StreamKind, Problem> {
    let (mut command, mut env, mut tty, mut stdin, mut size) =
        (Vec::new(), BTreeMap::new(), false, false, DEFAULT_SIZE);
    let (mut user, mut workdir) = (None, None);
    for (name, value) in parameters {
        let bad = || Problem::new(Code::InvalidQuery, format!("{name}={value} cannot be used")).field(name.as_str());
        match name.as_str() {
            "command" => command.push(value.clone()),
            "env" => match value.split_once('=') {
                Some((key, value)) if !key.is_empty() => drop(env.insert(key.to_owned(), value.to_owned())),
                Some(_) | None => return Err(bad()),
            },
            "tty" => tty = value.parse().map_err(|_| bad())?,
            "stdin" => stdin = value.parse().map_err(|_| bad())?,
            "cols" => size.cols = value.parse().map_err(|_| bad())?,
            "rows" => size.rows = value.parse().map_err(|_| bad())?,
            "user" => {
                let why = |why| Problem::new(Code::InvalidQuery, why).field("user");
                user = Some(value.parse::<RunAs>().map(|_| value.clone()).map_err(why)?);
            }
            "workdir" => {
                let why = |why| Problem::new(Code::InvalidQuery, why).field("workdir");
                workdir = Some(check_path(value).map(str::to_owned).map_err(why)?);
            }
            _ => return Err(bad()),
        }
    }
    if command.is_empty() || command[0].is_empty() {
        return Err(Problem::new(Code::InvalidQuery, "name the program to run: ?command=hostname").field("command"));
    }
    Ok(StreamKind::Exec { command, env, tty: tty.then_some(size), stdin, user, workdir })
}

/// Whether it is to run otherwise than every agent can.
fn asks_how(kind: &StreamKind) -> bool {
    matches!(kind, StreamKind::Exec { user, workdir, .. } if user.is_some() || workdir.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<StreamKind, Problem> {
        let owned: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        request(&owned)
    }

    #[test]
    fn a_command_is_its_words_in_order() {
        let words = [("command", "sh"), ("tty", "true"), ("command", "-l"), ("cols", "120")];
        let kind = parse(&[&words[..], &[("user", "app:0"), ("workdir", "/srv")]].concat()).unwrap();
        let expected = StreamKind::Exec {
            command: vec!["sh".to_owned(), "-l".to_owned()],
            env: BTreeMap::new(),
            tty: Some(Resize { cols: 120, rows: 24 }),
            stdin: false,
            user: Some("app:0".to_owned()),
            workdir: Some("/srv".to_owned()),
        };
        assert_eq!(kind, expected);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (pairs, field) in [
            (&[][..], "command"),
            (&[("command", "")][..], "command"),
            (&[("command", "a"), ("tty", "maybe")][..], "tty"),
            (&[("command", "a"), ("user", "65536")][..], "user"),
            (&[("command", "a"), ("user", "a b")][..], "user"),
            (&[("command", "a"), ("workdir", "srv")][..], "workdir"),
            (&[("command", "a"), ("shell", "sh")][..], "shell"),
            (&[("command", "a"), ("env", "A")][..], "env"),
        ] {
            assert_eq!(parse(pairs).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
