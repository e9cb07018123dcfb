//! Messages in words: one line for a subject, all of it for a chat or a mail.

use std::fmt::Write;

use roost_types::{NoticeItem, NoticeReason, Severity};

use super::Message;

/// The most characters of one line.
const MAX_LINE: usize = 300;

/// One line that says what it is about.
pub fn subject(message: &Message<'_>) -> String {
    let items = &message.notice.items;
    let count = items.len() + message.notice.more.len();
    match items.as_slice() {
        _ if message.test => "Roost: a test of the way alerts take".to_owned(),
        [] => "Roost: alerts".to_owned(),
        [only] if count == 1 => format!("Roost: {}: {}", headline(only), clean(&only.message)),
        [first, ..] => {
            let critical = items.iter().filter(|item| is_open(item) && item.severity == Severity::Critical).count();
            let critical = if critical > 0 { format!(", {critical} critical") } else { String::new() };
            format!("Roost: {count} alerts{critical}: {}", clean(&first.message))
        }
    }
}

/// All of it.
pub fn body(message: &Message<'_>) -> String {
    if message.test {
        return "This is a test. Somebody asked for it with `roost alert test`; nothing is wrong.\n".to_owned();
    }
    let mut text = String::new();
    for item in &message.notice.items {
        let times = if item.fires > 1 { format!(", {} times by now", item.fires) } else { String::new() };
        let by = item.acknowledged.as_ref().and_then(|seen| seen.by.as_ref()).map(|by| format!(" by {}", clean(by)));
        let by = by.filter(|_| item.reason == NoticeReason::Acknowledged).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}{by}: {}\n  {} since {}{times}",
            headline(item),
            clean(&item.message),
            item.key,
            item.fired_at
        );
    }
    if !message.notice.more.is_empty() {
        let _ = writeln!(text, "and {} more: roost alert list", message.notice.more.len());
    }
    text
}

/// What is new about an alert, in two words.
fn headline(item: &NoticeItem) -> String {
    match item.reason {
        NoticeReason::Fired => item.severity.as_str().to_owned(),
        NoticeReason::Worsened => format!("worse, {} now", item.severity.as_str()),
        NoticeReason::Reminder => format!("still {}", item.severity.as_str()),
        NoticeReason::Acknowledged => "acknowledged".to_owned(),
        NoticeReason::Resolved => "resolved".to_owned(),
    }
}

fn is_open(item: &NoticeItem) -> bool {
    match item.reason {
        NoticeReason::Fired | NoticeReason::Worsened | NoticeReason::Reminder => true,
        NoticeReason::Acknowledged | NoticeReason::Resolved => false,
    }
}

/// Words of a hub, a kernel or a person, on one line.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_LINE).collect()
}
