//! Why a test fails over Roost's runtime: the lines of `classes.txt`.

use anyhow::{Context, Result, bail};

use super::Test;

/// What is to be thought of a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Roost does not have what is tested, on purpose.
    Absent,
    /// Roost does it in another shape, which the shim does not turn into OCI's.
    Shape,
    /// Roost does what is tested and says it in other words than the test expects.
    Words,
    /// The machine cannot do what the test needs; it fails over every runtime.
    Machine,
    /// It passes, but would so over a runtime that does nothing.
    Hollow,
}

/// One line: which tests, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Class {
    /// `contest` or `runc`.
    pub suite: String,
    /// Group or file.
    pub group: String,
    /// The beginning of the test's name; all of the group's where it is empty.
    pub name: String,
    /// What is to be thought of it.
    pub kind: Kind,
    /// In words.
    pub why: String,
}

impl Kind {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Absent, "absent", "absent on purpose"),
        (Self::Shape, "shape", "a shape of OCI's that the shim does not map"),
        (Self::Words, "words", "done, but said in other words than the test expects"),
        (Self::Machine, "machine", "the machine lacks what the test needs"),
        (Self::Hollow, "hollow", "passes, but shows nothing"),
    ];

    /// As the page has it.
    pub fn describe(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, _, text)| text)
    }
}

impl Class {
    /// Whether it speaks of a test.
    pub fn covers(&self, suite: &str, test: &Test) -> bool {
        self.suite == suite && self.group == test.group && test.name.starts_with(&self.name)
    }
}

/// The classes of `classes.txt`.
///
/// # Errors
/// The line that is none.
pub fn read() -> Result<Vec<Class>> {
    parse(include_str!("classes.txt"))
}

/// The class of a test: of those that cover it the one that says most about it.
pub fn of<'a>(classes: &'a [Class], suite: &str, test: &Test) -> Option<&'a Class> {
    let covering = classes.iter().filter(|class| class.kind != Kind::Hollow && class.covers(suite, test));
    covering.max_by_key(|class| class.name.len())
}

/// `SUITE GROUP[::NAME] | KIND | WHY`; `#` begins a comment.
fn parse(text: &str) -> Result<Vec<Class>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| class(line).with_context(|| format!("classes.txt: {line}"))).collect()
}

fn class(line: &str) -> Result<Class> {
    let [test, kind, why] = line.split(" | ").collect::<Vec<_>>()[..] else { bail!("it is not TEST | KIND | WHY") };
    let (suite, test) = test.split_once(' ').context("it names no suite")?;
    let (group, name) = test.split_once("::").unwrap_or((test, ""));
    let kind = Kind::ALL.iter().find(|(_, name, _)| *name == kind).map(|(kind, ..)| *kind);
    Ok(Class {
        suite: suite.to_owned(),
        group: group.to_owned(),
        name: name.to_owned(),
        kind: kind.context("it names no kind")?,
        why: why.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Outcome;

    #[test]
    fn the_longest_name_that_covers_a_test_is_its_class() {
        let classes =
            parse("# x\ns g | absent | all\ns g::a b | shape | one\ns g::a c | hollow | h\n").expect("classes");
        let test = |name: &str| Test { group: "g".into(), name: name.into(), outcome: Outcome::Failed(String::new()) };
        let why = |name: &str| of(&classes, "s", &test(name)).map(|class| class.why.as_str());
        assert_eq!((why("a b c"), why("a c"), why("z")), (Some("one"), Some("all"), Some("all")));
        assert!(of(&classes, "other", &test("z")).is_none());
    }

    #[test]
    fn what_is_committed_can_be_read() {
        assert!(!read().expect("classes.txt is well-formed").is_empty());
    }
}
