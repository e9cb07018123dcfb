use super::*;
use crate::testing::TempDir;

fn outcome(dir: &TempDir, text: &str) -> Result<Vec<String>, String> {
    let path = dir.path().join("alerts.yaml");
    std::fs::write(&path, text.replace("DIR", &dir.path().display().to_string())).unwrap();
    let receivers = read_file(&path).map_err(|error| error.to_string())?;
    Ok(receivers.names().map(ToString::to_string).collect())
}

fn prepared() -> TempDir {
    let dir = TempDir::new();
    for (name, content) in [
        ("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"),
        ("short", "whsec_MfKQ\n"),
        ("odd", "whsec_!\n"),
        ("empty", "\n"),
        ("password", "pass word\n"),
        ("url", "https://chat.example/hooks/T0PSECRET\n"),
        ("bad-url", "T0PSECRET\n"),
    ] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

#[test]
fn webhooks_and_mail_servers_of_every_kind_are_taken() {
    let dir = prepared();
    let text = "webhooks:
  - {name: ops, url: 'http://10.0.0.9:8080/roost', secret_file: DIR/secret}
  - {name: chat, url_file: DIR/url, severity: critical}
emails:
  - {name: mail, server: smtp.example, user: me, password_file: DIR/password, from: 'Roost <roost@example.org>', to: [a@example.org, b@example.org]}
  - {name: local, server: localhost, port: 2525, tls: none, from: roost@example.org, to: [root@example.org]}
";
    assert_eq!(outcome(&dir, text).unwrap(), ["ops", "chat", "mail", "local"]);
    assert_eq!(outcome(&dir, "").unwrap(), Vec::<String>::new());
}

#[test]
fn what_is_wrong_is_named_by_field_and_no_secret_is_told() {
    let dir = prepared();
    let hook = |rest: &str| format!("webhooks: [{{name: ops, {rest}}}]");
    let mail = |rest: &str| format!("emails: [{{name: mail, server: smtp.example, from: a@example.org, {rest}}}]");
    let to = "to: [b@example.org]";
    for (text, words) in [
        (hook("urll: x"), ["webhooks[0]", "urll"]),
        (hook("severity: critical"), ["webhooks[0].url", "missing"]),
        (hook("url: 'ftp://x/'"), ["webhooks[0].url", "https://"]),
        (hook("url: 'http://me:T0PSECRET@x/'"), ["webhooks[0].url", "user or password"]),
        (hook("url_file: DIR/bad-url"), ["webhooks[0].url_file", "not a URL"]),
        (hook("url_file: DIR/none"), ["webhooks[0].url_file", "DIR/none"]),
        (hook("url: 'http://x/', secret_file: DIR/short"), ["webhooks[0].secret_file", "too short"]),
        (hook("url: 'http://x/', secret_file: DIR/odd"), ["webhooks[0].secret_file", "base64"]),
        (hook("url: 'http://x/', secret_file: DIR/empty"), ["webhooks[0].secret_file", "one line"]),
        (
            hook("url: 'http://x/', secret_env: ROOST_NO_SUCH_VARIABLE"),
            ["webhooks[0].secret_env", "ROOST_NO_SUCH_VARIABLE"],
        ),
        (hook("url: 'http://x/', ca_file: DIR/secret"), ["webhooks[0].ca_file", "no certificate"]),
        (
            format!("{}\n{}", hook("url: 'http://x/'"), mail(to).replace("name: mail", "name: ops")),
            ["emails[0].name", "twice"],
        ),
        (mail("to: []"), ["emails[0].to", "nobody"]),
        (mail("to: [nobody]"), ["emails[0].to", "'nobody'"]),
        (mail(&format!("{to}, user: me")), ["emails[0].user", "password_file"]),
        (mail(&format!("{to}, password_file: DIR/password")), ["emails[0].password_file", "no user"]),
        (mail(&format!("{to}, tls: none, user: me, password_file: DIR/password")), ["emails[0].tls", "starttls"]),
        (mail(to).replace("smtp.example", "'smtp.example:587'"), ["emails[0].server", "port"]),
        (mail(&format!("{to}, tls: maybe")), ["emails[0].tls", "maybe"]),
    ] {
        let error = outcome(&dir, &text).unwrap_err();
        let words = words.map(|word| word.replace("DIR", &dir.path().display().to_string()));
        assert!(words.iter().all(|word| error.contains(word)) && error.contains("alerts.yaml"), "{text}: {error}");
        assert!(!error.contains("T0PSECRET") && !error.contains("pass word"), "{text}: {error}");
    }
}
