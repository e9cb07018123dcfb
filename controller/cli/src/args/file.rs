//! Files of an instance: `cp` and `file …`.

use clap::{Args, Subcommand};

/// `cp`.
#[derive(Args, Debug)]
#[command(
    after_help = "A directory is copied into a DEST that is there, or becomes a DEST that is not; SOURCE/. copies \
what is in it.\n`-` as DEST writes a tar archive to standard output; `-` as SOURCE unpacks one from standard input into \
the directory DEST."
)]
pub struct CpArgs {
    /// What to copy: INSTANCE:PATH, a path here, or - for a tar archive on standard input.
    pub source: String,
    /// Where to: INSTANCE:PATH, a path here, or - for a tar archive on standard output.
    #[arg(value_name = "DEST")]
    pub destination: String,
    /// Keep owners (into an instance files belong to its root otherwise).
    #[arg(short, long)]
    pub archive: bool,
    /// Follow SOURCE when it is a symbolic link.
    #[arg(short = 'L', long)]
    pub follow_link: bool,
}

/// `file …`.
#[derive(Subcommand, Debug)]
pub enum FileCommand {
    /// List a directory, or tell what a file is.
    #[command(visible_alias = "ls")]
    List {
        /// INSTANCE:PATH.
        place: String,
    },
    /// Delete files.
    #[command(visible_alias = "rm")]
    Delete {
        /// INSTANCE:PATH.
        #[arg(required = true)]
        places: Vec<String>,
        /// Directories with everything below them.
        #[arg(short, long)]
        recursive: bool,
    },
    /// Make a directory.
    Mkdir {
        /// INSTANCE:PATH.
        place: String,
        /// Make those above it where they lack; one that is there already is no error.
        #[arg(short, long)]
        parents: bool,
        /// Its mode in octal digits.
        #[arg(short, long, value_name = "MODE")]
        mode: Option<String>,
    },
}
