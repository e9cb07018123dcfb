//! The table of names between two agents of one power-on, so that names work before the controller is heard again.
//!
//! It is kept in memory that a power cut clears: it changes with every launch in the rack, which no board's flash should
//! pay for.

use std::fs;
use std::path::{Path, PathBuf};

use roost_types::sync::NameTable;

/// `RUN_DIR/names.json`.
#[derive(Clone, Debug)]
pub struct Kept {
    path: PathBuf,
}

impl Kept {
    /// Keeps it in this directory.
    #[must_use]
    pub fn new(run_dir: &Path) -> Self {
        Self { path: run_dir.join("names.json") }
    }

    /// What was kept last. Nothing, or nonsense, is no table: the controller will send it again.
    #[must_use]
    pub fn load(&self) -> Option<NameTable> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    /// Keeps a table in place of the last.
    ///
    /// # Errors
    /// What writing says.
    pub fn save(&self, names: &NameTable) -> std::io::Result<()> {
        let new = self.path.with_extension("json.new");
        fs::write(&new, serde_json::to_vec(names)?)?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;
    use crate::testing::Scratch;
    use roost_types::sync::NameTable;

    #[test]
    fn a_table_comes_back_and_half_a_file_is_none() {
        let scratch = Scratch::new("names");
        let kept = Kept::new(scratch.path());
        assert_eq!(kept.load(), None);
        let table = NameTable { generation: u64::MAX, ..NameTable::default() };
        kept.save(&table).unwrap();
        assert_eq!(kept.load(), Some(table));
        std::fs::write(scratch.path().join("names.json"), "{\"gen").unwrap();
        assert_eq!(kept.load(), None);
    }
}
