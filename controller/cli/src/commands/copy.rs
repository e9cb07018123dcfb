//! `roost cp`: files and directories between here and an instance, as `docker cp` does it.
//!
//! Both ways travel as a tar archive. What comes out of an instance may mean harm to who takes it: it is unpacked by
//! descriptor, through no link, and never above the place that was named.

mod place;
mod pull;
mod push;

use std::io::IsTerminal;

use crate::args::CpArgs;
use crate::client::Client;
use crate::error::CliError;
use crate::output::Style;
use place::Place;
pub use place::{There, files_path};

/// Copies.
pub async fn copy(client: &Client, style: Style, args: CpArgs) -> Result<(), CliError> {
    let what = format!("copying {} to {}", args.source, args.destination);
    let choices = Choices { keep_owners: args.archive, follow: args.follow_link, quiet: style.quiet, what };
    match (Place::of(&args.source), Place::of(&args.destination)) {
        (Place::Here(from), Place::There(to)) => push::tree(client, &from, &to, &choices).await,
        (Place::There(from), Place::Here(to)) => pull::tree(client, &from, &to, &choices).await,
        (Place::Stream, Place::There(to)) => push::stream(client, &to, &choices).await,
        (Place::There(from), Place::Stream) => {
            if std::io::stdout().is_terminal() {
                return Err(CliError::Usage("a tar archive on a terminal is no use: redirect standard output".into()));
            }
            pull::stream(client, &from, &choices).await
        }
        (Place::There(_), Place::There(_)) => {
            Err(CliError::Usage("copy to here first, then from here: both are in instances".into()))
        }
        (Place::Here(_) | Place::Stream, Place::Here(_) | Place::Stream) => {
            Err(CliError::Usage("neither is in an instance: write INSTANCE:PATH for one of them".into()))
        }
    }
}

/// How to copy.
struct Choices {
    keep_owners: bool,
    follow: bool,
    quiet: bool,
    what: String,
}
