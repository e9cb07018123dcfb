//! What a pure crate's own code names. Reads Rust well enough to leave out comments, literals and tests; it does not
//! expand macros.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Paths and words that pure code has no use for, and what they would bring in.
const FORBIDDEN: &[(&str, &str)] = &[
    ("std::fs", "files"),
    ("std::io", "I/O"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("std::os", "the operating system"),
    ("TcpStream", "the network"),
    ("TcpListener", "the network"),
    ("UdpSocket", "the network"),
    ("ToSocketAddrs", "the network"),
    ("UnixStream", "the network"),
    ("SystemTime", "a clock"),
    ("Instant", "a clock"),
    ("Timestamp::now", "a clock"),
    ("Zoned::now", "a clock"),
    ("HashMap", "an order that differs from run to run"),
    ("HashSet", "an order that differs from run to run"),
    ("RandomState", "randomness"),
    ("now_v7", "a clock and randomness"),
    ("new_v4", "randomness"),
    ("async", "async"),
    ("println!", "I/O"),
    ("eprintln!", "I/O"),
];

/// Every finding in the Rust files below `dir`, one line each.
pub fn check_dir(dir: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        sources.push((file, blank(&text)));
    }
    let test_files: BTreeSet<PathBuf> = sources.iter().flat_map(|(file, code)| test_modules(file, code)).collect();
    Ok(sources
        .iter()
        .filter(|(file, _)| !test_files.iter().any(|test| file.starts_with(test)))
        .flat_map(|(file, code)| check(&file.display().to_string(), code))
        .collect())
}

/// The look itself is looked at: every forbidden word, planted in a line of code, that it does not see.
pub fn unseen_plants() -> Vec<String> {
    FORBIDDEN
        .iter()
        .filter(|(word, _)| check("planted.rs", &blank(&format!("fn f() {{ {word} }}\n"))).is_empty())
        .map(|(word, _)| format!("a planted `{word}` is not seen"))
        .collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Findings in code that `blank` has been over.
fn check(file: &str, code: &str) -> Vec<String> {
    let code = without_tests(code);
    let mut findings = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for (word, brings) in FORBIDDEN {
            if names(line, word) {
                findings.push(format!("{file}:{}: `{word}` brings in {brings}", index + 1));
            }
        }
    }
    findings.extend(grouped_imports(&code).map(|word| format!("{file}: `use std::{{{word}}}` is not for pure code")));
    findings
}

/// `use std::{a, b::c}` names `a` and `b` of std without `std::` in front of them.
fn grouped_imports(code: &str) -> impl Iterator<Item = String> + '_ {
    code.match_indices("std::{").flat_map(|(at, opening)| {
        let mut depth = 0;
        let mut found = Vec::new();
        let mut word = String::new();
        for c in code[at + opening.len()..].chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                _ => {}
            }
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            let full = format!("std::{word}");
            if depth == 0 && FORBIDDEN.iter().any(|(forbidden, _)| *forbidden == full) {
                found.push(word.clone());
            }
            word.clear();
        }
        let full = format!("std::{word}");
        if FORBIDDEN.iter().any(|(forbidden, _)| *forbidden == full) {
            found.push(word);
        }
        found
    })
}

/// Whether `word` stands in the line by itself, not as part of a longer identifier.
fn names(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// Files and folders of modules that exist only in tests: `#[cfg(test)] mod name;`.
fn test_modules(file: &Path, code: &str) -> Vec<PathBuf> {
    let stem = file.file_stem().unwrap_or_default();
    let parent = file.parent().unwrap_or(Path::new(""));
    let dir = if stem == "lib" || stem == "mod" { parent.to_path_buf() } else { parent.join(stem) };
    code.match_indices("#[cfg(test)]")
        .filter_map(|(at, attribute)| {
            let name = code[at + attribute.len()..].trim_start().strip_prefix("mod ")?.split(';').next()?;
            let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
            is_name.then(|| [dir.join(format!("{name}.rs")), dir.join(name)])
        })
        .flatten()
        .collect()
}

/// The code with every `#[cfg(test)]` item blanked out, lines kept.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let end = at + item_length(&rest[at..]);
        kept.extend(rest[at..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

/// Length of an item up to its `;` or the brace that closes it.
fn item_length(item: &str) -> usize {
    let mut depth = 0;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

/// The code with comments and the insides of literals turned into spaces, lines kept.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' if !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string(rest),
            '\'' => char_literal(rest),
            _ => 0,
        };
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let closing = format!("\"{}", "#".repeat(hashes));
    let inside = 2 + hashes;
    text[inside..].find(&closing).map_or(text.len(), |at| inside + at + closing.len())
}

/// A quote begins a character or a lifetime; only the character has a second quote right after it.
fn char_literal(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(0, |(at, _)| 2 + at + 1),
        Some((_, c)) if c != '\'' => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{blank, check, test_modules};

    fn findings(code: &str) -> usize {
        check("x.rs", &blank(code)).len()
    }

    #[test]
    fn a_planted_line_is_found() {
        for line in [
            "let t = std::time::SystemTime::now();",
            "let t = Instant::now();",
            "use std::fs;",
            "use std::{collections::BTreeMap, fs};",
            "use std::{\n    fmt,\n    process::Command,\n};",
            "use std::collections::HashMap;",
            "async fn f() {}",
            "fn f() { std::thread::sleep(d) }",
            "let x = 'a'; let m: HashSet<u8>;",
            "let s = r#\"quoted \" here\"#; std::env::var(s);",
            "println!(\"x\");",
        ] {
            assert_eq!(findings(line), 1, "{line}");
        }
    }

    #[test]
    fn comments_literals_tests_and_longer_names_are_not_findings() {
        for code in [
            "// std::fs is not for us",
            "/* HashMap /* nested */ HashSet */ fn f() {}",
            "let s = \"std::fs \\\" HashMap\";",
            "let s = r\"Instant\";",
            "fn instant<'a>(x: &'a str) -> InstantView<'a> { x }",
            "#[cfg(test)]\nmod tests {\n use std::fs;\n fn f() { {} }\n}\n",
            "#[cfg(test)]\nuse std::fs;\n",
            "use std::{collections::{BTreeMap, BTreeSet}, net::Ipv4Addr};",
            "let q = '\"'; let n = '\\''; fn g() {} // async",
        ] {
            assert_eq!(check("x.rs", &blank(code)), Vec::<String>::new(), "{code}");
        }
    }

    #[test]
    fn code_after_a_test_item_is_still_looked_at() {
        let code = "#[cfg(test)]\nmod tests { fn f() {} }\nuse std::fs;\n";
        assert_eq!(check("x.rs", &blank(code)), ["x.rs:3: `std::fs` brings in files"]);
    }

    #[test]
    fn files_of_test_modules_are_known() {
        let found = test_modules(Path::new("src/lib.rs"), "#[cfg(test)]\nmod golden;\nmod real;");
        assert_eq!(found, [Path::new("src/golden.rs"), Path::new("src/golden")]);
        let found = test_modules(Path::new("src/a.rs"), "#[cfg(test)] mod tests;");
        assert_eq!(found, [Path::new("src/a/tests.rs"), Path::new("src/a/tests")]);
    }
}
