//! Whom commands run as and where they begin: what was asked, looked up inside, and never root by mistake.

use std::time::{Duration, Instant};

use roost_agent::runtime::{ExecPlan, Runtime, RuntimeError};
use roost_types::AllocationId;
use roost_types::stream::Resize;

use crate::rig::{Rig, read_terminal};

cases![
    exec_runs_as_whom_it_is_told_where_it_is_told,
    a_user_has_no_capability_in_either_profile,
    user_one_is_not_root,
    a_user_that_does_not_fit_is_refused,
    an_endless_list_of_users_is_not_read,
    a_working_directory_leads_nowhere_outside,
    a_terminal_belongs_to_its_user,
    a_command_starts_as_its_image_says,
];

/// Users of the containers here.
const USERS: &str = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001:A:/srv/app:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nstaff:x:50:other,app\napp:x:1001:\n";

async fn with_users(rig: &Rig) -> AllocationId {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    add_users(rig, spec.id).await;
    spec.id
}

async fn add_users(rig: &Rig, id: AllocationId) {
    let script = format!("mkdir -p /srv/app; printf '{USERS}' > /etc/passwd; printf '{GROUPS}' > /etc/group");
    assert_eq!(rig.exec(id, &["sh", "-c", &script]).await, (String::new(), 0));
}

fn plan(user: &str, workdir: Option<&str>, command: &[&str]) -> ExecPlan {
    ExecPlan {
        command: command.iter().map(ToString::to_string).collect(),
        user: Some(user.to_owned()),
        workdir: workdir.map(str::to_owned),
        ..ExecPlan::default()
    }
}

/// What it says, or why it was refused.
async fn run(rig: &Rig, id: AllocationId, plan: &ExecPlan) -> Result<String, String> {
    match rig.exec_plan(id, plan).await {
        Ok((text, 0)) => Ok(text),
        Ok((text, code)) => panic!("{plan:?} ended with {code}: {text}"),
        Err(RuntimeError::Command { code: 126, message }) => Err(message),
        Err(other) => panic!("{plan:?}: {other:?}"),
    }
}

const WHO: [&str; 3] = ["sh", "-c", "echo $(id -u):$(id -g) $(id -G) $HOME $(pwd)"];

async fn exec_runs_as_whom_it_is_told_where_it_is_told(rig: &Rig) {
    let id = with_users(rig).await;
    for (user, workdir, expected) in [
        ("root", None, "0:0 0 /root /\n"),
        ("app", None, "1000:1001 1001 50 /srv/app /\n"),
        ("1000", Some("/srv"), "1000:1001 1001 50 /srv/app /srv\n"),
        ("app:staff", Some("/srv/app/.."), "1000:50 50 /srv/app /srv\n"),
        ("4711:7", None, "4711:7 7 / /\n"),
    ] {
        assert_eq!(run(rig, id, &plan(user, workdir, &WHO)).await.as_deref(), Ok(expected), "{user}");
    }
    let own = ExecPlan { env: vec!["HOME=/own".into()], ..plan("app", None, &["sh", "-c", "echo $HOME"]) };
    assert_eq!(run(rig, id, &own).await.as_deref(), Ok("/own\n"));
    // What it was given it can open by name.
    let by_name = plan("app", None, &["sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"]);
    assert_eq!(run(rig, id, &by_name).await.as_deref(), Ok("out\nerr\n"));
    let refused = run(rig, id, &plan("nobody-knows", None, &WHO)).await.unwrap_err();
    assert!(refused.contains("no user nobody-knows"), "{refused}");
}

async fn a_user_has_no_capability_in_either_profile(rig: &Rig) {
    let mut system = rig.spec(&["/bin/init"]);
    system.system = true;
    let app = rig.spec(&["sleep", "1000"]);
    for spec in [app, system] {
        rig.start(&spec).await;
        add_users(rig, spec.id).await;
        let status = run(rig, spec.id, &plan("app", None, &["cat", "/proc/self/status"])).await.expect("a status");
        for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(status.contains(&format!("{field}:\t0000000000000000")), "{field} in {status}");
        }
        assert!(status.contains("Seccomp:\t2"), "{status}");
    }
}

/// CVE-2026-30892: `crun exec -u 1` ran as root.
async fn user_one_is_not_root(rig: &Rig) {
    let id = with_users(rig).await;
    assert_eq!(run(rig, id, &plan("1", None, &["id", "-u"])).await.as_deref(), Ok("1\n"));
    assert_eq!(run(rig, id, &plan("1:1", None, &["id", "-g"])).await.as_deref(), Ok("1\n"));
}

/// CVE-2024-40635: a number beyond 32 bits, from the request or from the file, became root.
async fn a_user_that_does_not_fit_is_refused(rig: &Rig) {
    let id = with_users(rig).await;
    let script = "printf 'wraps:x:4294967296:0::/:\\nminus:x:-1:0::/:\\n' >> /etc/passwd";
    rig.exec(id, &["sh", "-c", script]).await;
    for user in ["4294967296", "4294967295", "65536", "app:4294967296", "wraps", "minus", "+0", ":0", "a:b:c"] {
        let refused = run(rig, id, &plan(user, None, &["id"])).await;
        assert!(refused.is_err(), "{user}: {refused:?}");
    }
}

/// CVE-2026-47262: a list of groups without end used up the memory of whoever read it.
async fn an_endless_list_of_users_is_not_read(rig: &Rig) {
    let id = with_users(rig).await;
    for (what, script) in [
        ("large", "head -c 1048577 /dev/zero > /etc/group"),
        ("endless", "ln -sf /dev/zero /etc/group"),
        ("magic", "ln -sf /proc/self/fd/0 /etc/group"),
        ("a pipe", "rm /etc/group; mknod /etc/group p"),
    ] {
        rig.exec(id, &["sh", "-c", script]).await;
        let began = Instant::now();
        let refused = run(rig, id, &plan("app", None, &["id"])).await.unwrap_err();
        assert!(refused.contains("/etc/group"), "{what}: {refused}");
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
    }
    // Nobody needs the files to be root.
    assert_eq!(rig.exec(id, &["id", "-u"]).await, ("0\n".into(), 0));
}

/// CVE-2024-21626: a working directory that is a descriptor of the one who starts it.
async fn a_working_directory_leads_nowhere_outside(rig: &Rig) {
    let id = with_users(rig).await;
    rig.exec(id, &["sh", "-c", "ln -s /proc/self/fd/3 /srv/three; ln -s ../../../../etc /srv/etc"]).await;
    let links = (3..16).map(|fd| format!("/proc/self/fd/{fd}"));
    for workdir in
        links.chain(["/srv/three", "/proc/1/root", "/proc/1/cwd", "/absent", "/etc/passwd"].map(str::to_owned))
    {
        let refused = run(rig, id, &plan("root", Some(&workdir), &["pwd"])).await;
        assert!(refused.is_err(), "{workdir}: {refused:?}");
    }
    assert_eq!(run(rig, id, &plan("root", Some("/srv/etc"), &["ls", "hosts"])).await.as_deref(), Ok("hosts\n"));
}

async fn a_terminal_belongs_to_its_user(rig: &Rig) {
    let id = with_users(rig).await;
    let size = Some(Resize { cols: 80, rows: 24 });
    let wish = ExecPlan { tty: size, ..plan("app", None, &["sh", "-c", "echo yes, $(id -u) > $(tty)"]) };
    let session = rig.runtime.exec(id, &wish).await.expect("exec");
    let text = tokio::task::spawn_blocking(move || read_terminal(session.stdout)).await.expect("text");
    assert!(text.contains("yes, 1000"), "{text:?}");
}

/// As an image made for Docker does: a user, a directory that is not there yet, a signal.
async fn a_command_starts_as_its_image_says(rig: &Rig) {
    let image = rig.image_with("users", |root| {
        std::fs::write(root.join("etc/passwd"), USERS).expect("passwd");
        std::fs::write(root.join("etc/group"), GROUPS).expect("group");
    });
    let script = "trap 'echo asked; exit 3' QUIT; echo $(id -u):$(id -g) $HOME $(pwd); while :; do sleep 0.1; done";
    let mut spec = rig.spec(&["sh", "-c", script]);
    (spec.user, spec.workdir, spec.stop_signal) = ("app".into(), "/data/deep".into(), Some(3));
    rig.start_image(&spec, &image).await;
    rig.wait_for_log(spec.id, "1000:1001 /srv/app /data/deep").await;
    // An exec is the same, unless it says otherwise.
    assert_eq!(rig.exec(spec.id, &WHO).await.0, "1000:1001 1001 50 /srv/app /data/deep\n");
    assert_eq!(run(rig, spec.id, &plan("0", Some("/"), &WHO)).await.as_deref(), Ok("0:0 0 /root /\n"));
    rig.runtime.stop(spec.id, Duration::from_secs(20)).await.expect("stop");
    assert_eq!(rig.exit_of(spec.id).await.code, 3);
    spec.id = rig.spec(&["true"]).id;
    spec.user = "absent".into();
    match rig.try_start_image(&spec, &image).await {
        Err(RuntimeError::Command { code: 126, message }) => assert!(message.contains("no user absent"), "{message}"),
        other => panic!("{other:?}"),
    }
}
