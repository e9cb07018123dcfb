//! The cases, by name.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use roost_agent::runtime::linux::LinuxRuntime;
use roost_agent::runtime::{ContainerState, ExecControl, ExecPlan, Runtime, RuntimeError};
use roost_types::size::Resources;
use roost_types::stream::Resize;
use roost_types::{AllocationId, MemoryBytes};

use crate::escapes::*;
use crate::network::{
    a_bridge_made_anew_has_its_ports, on_the_lan_the_inside_asks_for_its_address, routes_to_other_nodes_come_and_go,
};
use crate::probe::{a_system_may_do_what_its_golden_file_says, an_app_may_do_what_its_golden_file_says};
use crate::rig::{Rig, loop_count, slowness};

cases![
    a_container_starts_runs_execs_logs_stops_and_is_deleted,
    every_namespace_is_its_own_and_its_ids_are_in_its_range,
    memory_and_pids_limits_are_in_force,
    limits_change_while_a_container_runs,
    the_disk_ends_where_the_size_says_where_the_kernel_can,
    a_fork_bomb_is_contained,
    being_killed_for_memory_is_reported,
    exit_codes_come_through,
    a_command_that_cannot_be_executed_says_why,
    exec_reports_codes_and_signals,
    exec_with_a_terminal_has_one_of_its_size,
    an_exec_whose_user_goes_away_is_killed,
    output_streams_are_told_apart_and_followed,
    a_command_that_ignores_the_request_is_killed_after_the_grace,
    an_image_is_mounted_once_for_two_containers,
    containers_reach_each_other_and_their_gateway,
    routes_to_other_nodes_come_and_go,
    a_bridge_made_anew_has_its_ports,
    on_the_lan_the_inside_asks_for_its_address,
    writes_survive_a_restart_and_belong_to_the_containers_root,
    what_is_dangerous_is_out_of_reach,
    an_app_may_do_what_its_golden_file_says,
    a_system_may_do_what_its_golden_file_says,
    the_programs_that_start_containers_cannot_be_overwritten,
    no_descriptor_and_no_working_directory_leads_out,
    what_is_hidden_is_hidden_by_the_real_null_device,
    an_image_cannot_bend_the_places_that_are_mounted_on,
    written_files_stay_inside_the_root,
    a_container_cannot_bend_its_next_start,
    a_terminal_is_one_of_the_containers_devpts_or_none,
    what_a_user_says_is_data,
    no_capability_is_inherited,
    nobody_of_the_board_can_enter_a_containers_directories,
    no_control_socket_can_be_reached,
    a_system_container_cannot_change_the_boards_hierarchies,
    a_containers_output_is_no_file_it_can_change,
    a_new_agent_finds_what_runs_and_loses_no_line,
    a_killed_keeper_is_replaced_and_adopts,
    fifty_containers_outlive_agent_and_keeper,
    an_exit_without_a_keeper_is_noticed_by_the_next,
    after_a_power_cut_containers_are_exited,
    the_images_own_init_boots_and_shuts_down,
    starting_twice_is_starting_once,
    a_failed_start_leaves_nothing,
    starting_is_quick,
    holding_a_container_takes_little_memory,
];

async fn a_container_starts_runs_execs_logs_stops_and_is_deleted(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", "echo out; echo err >&2; exec sleep 1000"]);
    let pid = rig.start(&spec).await;
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    rig.wait_for_log(spec.id, "err").await;
    assert_eq!(rig.exec(spec.id, &["hostname"]).await, (format!("{}\n", spec.name), 0));
    let stats = rig.runtime.stats(spec.id).await.expect("stats");
    assert!(stats.pids == 2 && stats.memory.usage_bytes > 0, "init and sleep: {stats:?}");
    rig.runtime.stop(spec.id, Duration::from_secs(5)).await.expect("stop");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    // The kernel takes it down with the network namespace, by itself.
    for _ in 0..400 {
        if !rig.has_veth(spec.id) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(!rig.has_veth(spec.id));
    rig.runtime.delete(spec.id).await.expect("delete");
    assert!(rig.runtime.list().await.expect("list").is_empty());
}

async fn every_namespace_is_its_own_and_its_ids_are_in_its_range(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    let pid = rig.start(&spec).await;
    for name in ["user", "pid", "mnt", "uts", "ipc", "net", "cgroup"] {
        let link = |pid: String| fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("a namespace");
        assert_ne!(link(pid.to_string()), link("self".into()), "{name}");
    }
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).expect("uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", &spec.uid_base.to_string(), "65536"]);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    assert!(status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", spec.uid_base)), "{status}");
}

async fn memory_and_pids_limits_are_in_force(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let memory = rig.cgroup_file("memory", spec.id, if v2 { "memory.max" } else { "memory.limit_in_bytes" });
    assert_eq!(memory, (64 << 20).to_string());
    assert_eq!(rig.cgroup_file("pids", spec.id, "pids.max"), "64");
    let tasks = rig.cgroup_file("memory", spec.id, "cgroup.procs");
    assert_eq!(tasks.lines().count(), 2, "init and the command are in the group: {tasks}");
}

async fn limits_change_while_a_container_runs(rig: &Rig) {
    let spec =
        rig.spec(&["sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=24 2>/dev/null; echo full; exec sleep 1000"]);
    let pid = rig.start(&spec).await;
    rig.wait_for_log(spec.id, "full").await;
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let limit = |name: &str, old: &str| if unified { name.to_owned() } else { old.to_owned() };
    let memory = || rig.cgroup_file("memory", spec.id, &limit("memory.max", "memory.limit_in_bytes"));
    let more = Resources { memory_bytes: MemoryBytes::mib(256), pids: 99, cpu_millis: 1000, ..spec.resources };
    rig.runtime.limit(spec.id, &more).await.expect("more");
    assert_eq!(memory(), (256 << 20).to_string());
    assert_eq!(rig.cgroup_file("pids", spec.id, "pids.max"), "99");
    let less = Resources { memory_bytes: MemoryBytes::mib(32), ..spec.resources };
    rig.runtime.limit(spec.id, &less).await.expect("less");
    assert_eq!(memory(), (32 << 20).to_string());
    let too_little = Resources { memory_bytes: MemoryBytes::mib(8), ..spec.resources };
    let error = rig.runtime.limit(spec.id, &too_little).await.expect_err("24 MiB are in use");
    assert!(error.to_string().contains("more than the 8 MiB"), "{error}");
    assert_eq!(memory(), (32 << 20).to_string(), "the old limit stays");
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "and nothing was killed");
}

async fn the_disk_ends_where_the_size_says_where_the_kernel_can(rig: &Rig) {
    let features = roost_agent::runtime::linux::probe(&rig.config.state_dir, &rig.config.without);
    let feature = features.iter().find(|feature| feature.name == "disk_limit").expect("a feature");
    if !feature.supported {
        assert!(feature.advice.contains("prjquota"), "{}", feature.advice);
        return;
    }
    let mut spec = rig.spec(&["sleep", "1000"]);
    spec.resources.disk_bytes = MemoryBytes::mib(16);
    rig.start(&spec).await;
    let fill = |mib: u32| format!("dd if=/dev/zero of=/root/x bs=1M count={mib} 2>&1; rm /root/x");
    let (text, _) = rig.exec(spec.id, &["sh", "-c", &fill(12)]).await;
    assert!(!text.contains("No space") && !text.contains("quota"), "{text}");
    let (text, _) = rig.exec(spec.id, &["sh", "-c", &fill(20)]).await;
    assert!(text.contains("No space") || text.contains("quota"), "{text}");
    let more = Resources { disk_bytes: MemoryBytes::mib(32), ..spec.resources };
    rig.runtime.limit(spec.id, &more).await.expect("a larger disk");
    let (text, _) = rig.exec(spec.id, &["sh", "-c", &fill(20)]).await;
    assert!(!text.contains("No space") && !text.contains("quota"), "{text}");
    // Nothing of it counts for another container.
    let other = rig.spec(&["sleep", "1000"]);
    rig.start(&other).await;
    let (text, _) = rig.exec(other.id, &["sh", "-c", &fill(40)]).await;
    assert!(!text.contains("No space") && !text.contains("quota"), "{text}");
}

async fn a_fork_bomb_is_contained(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let bomb = "i=0; while [ $i -lt 200 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done";
    let (text, code) = rig.exec(spec.id, &["sh", "-c", bomb]).await;
    assert!(code != 0 && text.contains("can't fork"), "{code}: {text}");
    let running: u32 = rig.cgroup_file("pids", spec.id, "pids.current").parse().expect("a number");
    assert!((50..=64).contains(&running), "{running}");
    assert!(!rig.cgroup_file("pids", spec.id, "pids.events").ends_with(" 0"), "the limit was hit");
    rig.runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
}

async fn being_killed_for_memory_is_reported(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=200M count=2"]);
    rig.start(&spec).await;
    let exit = rig.exit_of(spec.id).await;
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!(exit.code, 137);
}

async fn exit_codes_come_through(rig: &Rig) {
    for (command, code) in [("true", 0), ("exit 3", 3), ("kill -9 $$", 137), ("no-such-program", 127)] {
        let spec = rig.spec(&["sh", "-c", command]);
        rig.start(&spec).await;
        let exit = rig.exit_of(spec.id).await;
        assert_eq!((exit.code, exit.oom_killed), (code, false), "{command}");
        let list = rig.runtime.list().await.expect("list");
        let found = list.iter().find(|container| container.id == spec.id).expect("still known");
        assert_eq!(found.state, ContainerState::Exited { exit: Some(exit) });
    }
}

async fn a_command_that_cannot_be_executed_says_why(rig: &Rig) {
    for (command, expected) in [("/bin/absent", 127), ("absent", 127), ("/bin/not-a-program", 126), ("/etc", 126)] {
        let spec = rig.spec(&[command]);
        match rig.runtime.start(&spec, &rig.image, &rig.network).await {
            Err(RuntimeError::Command { code, message }) => {
                assert_eq!(code, expected, "{message}");
                assert!(message.contains(command), "{message}");
            }
            other => panic!("{command}: {other:?}"),
        }
    }
}

async fn exec_reports_codes_and_signals(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    assert_eq!(rig.exec(spec.id, &["sh", "-c", "exit 7"]).await.1, 7);
    assert_eq!(rig.exec(spec.id, &["sh", "-c", "kill -15 $$"]).await.1, 143);
    assert_eq!(rig.exec(spec.id, &["sh", "-c", "echo $GREETING; id -u"]).await, ("hello\n0\n".into(), 0));
    let plan = |command: &str| ExecPlan { command: vec![command.into()], ..ExecPlan::default() };
    match rig.runtime.exec(spec.id, &plan("absent")).await {
        Err(RuntimeError::Command { code: 127, .. }) => {}
        other => panic!("{other:?}"),
    }
    let sleeping = ExecPlan { command: vec!["sleep".into(), "1000".into()], ..ExecPlan::default() };
    let session = rig.runtime.exec(spec.id, &sleeping).await.expect("exec");
    session.control.send(ExecControl::Signal(libc::SIGTERM)).await.expect("send");
    assert_eq!(session.exit.await.expect("exit").code, 143);
    rig.runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
    assert!(matches!(rig.runtime.exec(spec.id, &plan("true")).await, Err(RuntimeError::NotRunning)));
    let stranger = rig.spec(&["true"]).id;
    assert!(matches!(rig.runtime.exec(stranger, &plan("true")).await, Err(RuntimeError::NoContainer(_))));
}

async fn exec_with_a_terminal_has_one_of_its_size(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let plan = ExecPlan {
        command: ["sh", "-c", "stty size; tty; read line; echo got $line"].map(String::from).to_vec(),
        tty: Some(Resize { cols: 101, rows: 37 }),
        ..ExecPlan::default()
    };
    let session = rig.runtime.exec(spec.id, &plan).await.expect("exec");
    assert!(session.stderr.is_none());
    let terminal = session.stdin.try_clone().expect("dup");
    rustix::io::write(&terminal, b"hi\n").expect("typing");
    let text = tokio::task::spawn_blocking(move || crate::rig::read_terminal(session.stdout)).await.expect("text");
    assert!(text.contains("37 101") && text.contains("/dev/pts/0") && text.contains("got hi"), "{text:?}");
    assert_eq!(session.exit.await.expect("exit").code, 0);
}

async fn an_exec_whose_user_goes_away_is_killed(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let plan = ExecPlan { command: vec!["sleep".into(), "77".into()], ..ExecPlan::default() };
    let session = rig.runtime.exec(spec.id, &plan).await.expect("exec");
    assert_eq!(rig.runtime.stats(spec.id).await.expect("stats").pids, 3);
    drop(session.control);
    assert_eq!(session.exit.await.expect("exit").code, 137);
    // The same when the whole agent goes away.
    let other = LinuxRuntime::connect(rig.config.clone()).await.expect("a second agent");
    let session = other.exec(spec.id, &plan).await.expect("exec");
    std::mem::forget(session);
    other.disconnect();
    for _ in 0..100 {
        if rig.runtime.stats(spec.id).await.expect("stats").pids == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the process outlives its user");
}

async fn output_streams_are_told_apart_and_followed(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", "echo a; echo b >&2; sleep 0.3; echo c; sleep 1000"]);
    rig.start(&spec).await;
    rig.wait_for_log(spec.id, "b").await;
    let mut follow = rig.runtime.logs(spec.id, Some(1), true).await.expect("logs");
    let mut seen = Vec::new();
    while seen.last() != Some(&(false, b"c\n".to_vec())) {
        let chunk = tokio::time::timeout(Duration::from_secs(5), follow.recv()).await.expect("in time").expect("more");
        seen.push((chunk.stderr, chunk.bytes));
    }
    assert_eq!(seen.len(), 2, "the last line and the new one: {seen:?}");
    rig.runtime.delete(spec.id).await.expect("delete");
    let end = tokio::time::timeout(Duration::from_secs(5), follow.recv()).await.expect("in time");
    assert!(end.is_none(), "the follower ends with the container");
}

async fn a_command_that_ignores_the_request_is_killed_after_the_grace(rig: &Rig) {
    let polite = rig.spec(&["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"]);
    rig.start(&polite).await;
    rig.wait_for_log(polite.id, "ready").await;
    rig.runtime.stop(polite.id, Duration::from_secs(10)).await.expect("stop");
    assert_eq!(rig.exit_of(polite.id).await.code, 5);

    let deaf = rig.spec(&["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]);
    let pid = rig.start(&deaf).await;
    rig.wait_for_log(deaf.id, "ready").await;
    let asked = Instant::now();
    rig.runtime.stop(deaf.id, Duration::from_millis(400)).await.expect("stop");
    let took = asked.elapsed();
    assert!((Duration::from_millis(380)..Duration::from_secs(3)).contains(&took), "{took:?}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(rig.exit_of(deaf.id).await.code, 137);
}

async fn an_image_is_mounted_once_for_two_containers(rig: &Rig) {
    let (first, second) = (rig.spec(&["sleep", "1000"]), rig.spec(&["sleep", "1000"]));
    rig.start(&first).await;
    rig.start(&second).await;
    assert_eq!(loop_count(&rig.image), 1);
    let keeper = rig.runtime.keeper_pid().await.expect("a keeper");
    let mounts = fs::read_to_string(format!("/proc/{keeper}/mountinfo")).expect("mounts");
    assert_eq!(mounts.lines().filter(|line| line.contains(" erofs ")).count(), 1, "{mounts}");
    assert!(!mounts.contains("overlay"), "overlays live in the containers' own namespaces");
    rig.runtime.stop(first.id, Duration::ZERO).await.expect("stop");
    assert_eq!(loop_count(&rig.image), 1);
    assert_eq!(rig.exec(second.id, &["true"]).await.1, 0);
}

async fn containers_reach_each_other_and_their_gateway(rig: &Rig) {
    let server = rig.spec(&["sh", "-c", "while :; do echo pong | nc -l -p 80; done"]);
    let client = rig.spec(&["sleep", "1000"]);
    rig.start(&server).await;
    rig.start(&client).await;
    let address = server.address.to_string();
    let mut answer = (String::new(), 1);
    for _ in 0..50 {
        answer = rig.exec(client.id, &["sh", "-c", &format!("echo | nc -w 1 {address} 80")]).await;
        if answer.1 == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(answer, ("pong\n".into(), 0));
    let (routes, _) = rig.exec(client.id, &["ip", "route"]).await;
    assert!(routes.contains("default via 10.99.0.1 dev eth0"), "{routes}");
    let (link, _) = rig.exec(client.id, &["ip", "link", "show", "eth0"]).await;
    let octets = client.address.octets();
    assert!(link.contains(&format!("02:52:0a:63:00:{:02x}", octets[3])), "{link}");
    // Echo requests need no raw socket: every group of the container may send them.
    let (range, _) = rig.exec(client.id, &["cat", "/proc/sys/net/ipv4/ping_group_range"]).await;
    assert_eq!(range, "0\t65535\n");
    let board = std::net::TcpListener::bind("10.99.0.1:0").expect("a listener on the bridge");
    let port = board.local_addr().expect("its address").port().to_string();
    let greet = std::thread::spawn(move || board.accept().map(|(mut peer, _)| peer.write_all(b"board\n")));
    assert_eq!(rig.exec(client.id, &["nc", "-w", "2", "10.99.0.1", &port]).await, ("board\n".into(), 0));
    greet.join().expect("the thread ends").expect("a connection").expect("a greeting");
}

async fn writes_survive_a_restart_and_belong_to_the_containers_root(rig: &Rig) {
    let mut spec =
        rig.spec(&["sh", "-c", "touch /root/$(ls /root | head -1)x; stat -c %u /root /etc/hosts; sleep 1000"]);
    rig.start(&spec).await;
    rig.wait_for_log(spec.id, "0\n0\n").await;
    rig.runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
    rig.exit_of(spec.id).await;
    spec.epoch = 1;
    rig.start(&spec).await;
    assert_eq!(rig.exec(spec.id, &["sh", "-c", "sleep 0.2; ls /root"]).await, ("x\nxx\n".into(), 0));
    let starts = rig.runtime.list().await.expect("list")[0].starts;
    assert_eq!(starts, 2, "whoever asks knows how often it was started");
    let file = rig.runtime.instance_dir(spec.id).join("upper/root/x");
    let stored_as = if rig.shifts_ids() { spec.uid_base } else { 0 };
    assert_eq!(fs::metadata(&file).expect("the file on the node").uid(), stored_as);
    let above = rig.config.state_dir.join("instances");
    assert_eq!(fs::metadata(above).expect("directory").mode() & 0o777, 0o700);
}

async fn what_is_dangerous_is_out_of_reach(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let refused = [
        "mount -t tmpfs none /tmp",
        "readlink /proc/1/exe",
        "cat /proc/1/environ | head -c 1",
        "echo 1 > /proc/sys/kernel/panic",
        "echo c > /proc/sysrq-trigger",
        "touch /sys/kernel/x",
        "cat /dev/mem",
        "hostname other",
        "ip link add x type dummy",
        "unshare -U true",
        "unshare -m true",
    ];
    for command in refused {
        let (text, code) = rig.exec(spec.id, &["sh", "-c", &format!("set -o pipefail; {command}")]).await;
        assert_ne!(code, 0, "{command}: {text}");
    }
    for masked in ["interrupts", "timer_list", "kcore", "keys"] {
        if Path::new("/proc").join(masked).exists() {
            let (text, code) = rig.exec(spec.id, &["head", "-c", "4", &format!("/proc/{masked}")]).await;
            assert_eq!((text.as_str(), code), ("", 0), "{masked} is hidden behind an empty file");
        }
    }
    let (status, _) = rig.exec(spec.id, &["cat", "/proc/self/status"]).await;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim().to_owned();
    assert_eq!(field("CapInh:"), "0000000000000000");
    assert_eq!(field("CapAmb:"), "0000000000000000");
    // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT
    assert_eq!(field("CapBnd:"), "00000000000405fb");
    assert_eq!(field("CapEff:"), "00000000000405fb");
    assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
    let (fds, _) = rig.exec(spec.id, &["ls", "/proc/self/fd"]).await;
    assert_eq!(fds, "0\n1\n2\n3\n", "only the standard files and the directory that ls reads");
    let (devices, _) = rig.exec(spec.id, &["sh", "-c", "cd /dev; ls"]).await;
    for device in ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"] {
        assert!(devices.lines().any(|line| line == device), "{device} in {devices}");
    }
    assert!(!devices.contains("loop") && !devices.contains("kmsg"), "{devices}");
}

async fn a_new_agent_finds_what_runs_and_loses_no_line(rig: &Rig) {
    let spec =
        rig.spec(&["sh", "-c", "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; sleep 1000"]);
    let short = rig.spec(&["sh", "-c", "sleep 0.2; exit 9"]);
    let first = LinuxRuntime::connect(rig.config.clone()).await.expect("an agent");
    let pid = first.start(&spec, &rig.image, &rig.network).await.expect("start").pid;
    first.start(&short, &rig.image, &rig.network).await.expect("start");
    first.disconnect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let second = LinuxRuntime::connect(rig.config.clone()).await.expect("the next agent");
    let state = state_of(&second, spec.id).await;
    assert!(matches!(state, ContainerState::Running { pid: found, .. } if found == pid), "{state:?}");
    let state = state_of(&second, short.id).await;
    assert!(matches!(state, ContainerState::Exited { exit: Some(exit) } if exit.code == 9), "{state:?}");
    let expected: String = (0..40).map(|i| format!("line {i}\n")).collect();
    rig.wait_for_log(spec.id, "line 39").await;
    assert_eq!(rig.log(spec.id).await, expected);
}

async fn a_killed_keeper_is_replaced_and_adopts(rig: &Rig) {
    let spec =
        rig.spec(&["sh", "-c", "i=0; while [ $i -lt 60 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; sleep 1000"]);
    let pid = rig.start(&spec).await;
    let before = rig.kill_keeper().await;
    assert!(
        matches!(state_of(&rig.runtime, spec.id).await, ContainerState::Running { pid: found, .. } if found == pid)
    );
    assert_ne!(rig.runtime.keeper_pid().await.expect("a keeper"), before);
    assert_eq!(rig.exec(spec.id, &["hostname"]).await, (format!("{}\n", spec.name), 0));
    rig.wait_for_log(spec.id, "line 59").await;
    let expected: String = (0..60).map(|i| format!("line {i}\n")).collect();
    assert_eq!(rig.log(spec.id).await, expected, "no line is lost or doubled");
    let second = rig.spec(&["sleep", "1000"]);
    rig.start(&second).await;
    rig.runtime.stop(spec.id, Duration::from_secs(5)).await.expect("an adopted container stops");
}

/// How long adopting took is printed, not asserted.
async fn fifty_containers_outlive_agent_and_keeper(rig: &Rig) {
    let script = "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); sleep 0.1; done; exec sleep 1000";
    let mut started = Vec::new();
    for _ in 0..50 {
        let spec = rig.spec(&["sh", "-c", script]);
        started.push((spec.id, rig.start(&spec).await));
    }
    let same = |containers: Vec<roost_agent::runtime::ContainerStatus>| {
        let runs = |id: AllocationId, was: u32| {
            let state = containers.iter().find(|container| container.id == id).map(|container| &container.state);
            matches!(state, Some(ContainerState::Running { pid, .. }) if *pid == was)
        };
        started.iter().all(|(id, pid)| runs(*id, *pid))
    };
    rig.runtime.disconnect();
    let began = Instant::now();
    let next = LinuxRuntime::connect(rig.config.clone()).await.expect("the next agent");
    assert!(same(next.list().await.expect("a list")), "a new agent finds all as they were");
    println!("adopted by a new agent after {:?}", began.elapsed());
    let expected: String = (0..20).map(|i| format!("line {i}\n")).collect();
    for (id, _) in &started {
        let id = *id;
        rig.wait_for_log(id, "line 19").await;
        assert_eq!(rig.log(id).await, expected, "no line is lost or doubled");
    }
    rig.kill_keeper().await;
    let began = Instant::now();
    // What was asked of the keeper that died fails, and is asked again.
    let list = async {
        loop {
            match next.list().await {
                Ok(containers) => return containers,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    assert!(same(list.await), "a new keeper finds all as they were");
    println!("adopted by a new keeper after {:?}", began.elapsed());
}

async fn an_exit_without_a_keeper_is_noticed_by_the_next(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", "sleep 0.3; exit 4"]);
    rig.start(&spec).await;
    // Adopted while it runs: the kernel keeps the code of a process that the keeper has a handle on.
    rig.kill_keeper().await;
    assert!(matches!(state_of(&rig.runtime, spec.id).await, ContainerState::Running { .. }));
    let exit = rig.exit_of(spec.id).await;
    // An older kernel tells it only as long as nobody has reaped the process; after that it is said to be unknown.
    let may_be_unknown = kernel() < (6, 15);
    assert!(exit.code == 4 || may_be_unknown && exit.code == -1, "{exit:?}");
}

/// Major and minor version of the running kernel.
fn kernel() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

async fn after_a_power_cut_containers_are_exited(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    let pid = rig.start(&spec).await;
    // Everything of the board goes at once.
    rig.kill_keeper().await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL)
        .expect("kill");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let state = state_of(&rig.runtime, spec.id).await;
    match state {
        ContainerState::Exited { exit } => assert!(exit.is_none_or(|exit| exit.code == -1 || exit.code == 137)),
        ContainerState::Running { .. } => panic!("nothing runs"),
    }
    let mut again = spec.clone();
    again.epoch = 1;
    rig.start(&again).await;
    assert_eq!(rig.exec(spec.id, &["true"]).await.1, 0);
}

async fn the_images_own_init_boots_and_shuts_down(rig: &Rig) {
    let mut spec = rig.spec(&["/bin/init"]);
    spec.system = true;
    let pid = rig.start(&spec).await;
    rig.wait_for_log(spec.id, "booted").await;
    let (processes, _) = rig.exec(spec.id, &["ps"]).await;
    assert!(processes.lines().any(|line| line.trim_start().starts_with("1 ") && line.contains("init")), "{processes}");
    assert_eq!(rig.exec(spec.id, &["mount", "-t", "tmpfs", "none", "/tmp"]).await.1, 0, "an init may mount");
    assert_eq!(rig.exec(spec.id, &["sh", "-c", "mkdir /sys/fs/cgroup/x"]).await.1, 0, "its cgroup is delegated");
    rig.runtime.stop(spec.id, Duration::from_secs(10)).await.expect("stop");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(rig.log(spec.id).await.contains("bye"), "it ran its own shutdown");
}

async fn starting_twice_is_starting_once(rig: &Rig) {
    let mut spec = rig.spec(&["sleep", "1000"]);
    let first = rig.runtime.start(&spec, &rig.image, &rig.network).await.expect("start");
    let second = rig.runtime.start(&spec, &rig.image, &rig.network).await.expect("start again");
    assert_eq!(first, second);
    spec.epoch = 1;
    assert!(rig.runtime.start(&spec, &rig.image, &rig.network).await.is_err(), "another epoch has to be stopped first");
}

async fn a_failed_start_leaves_nothing(rig: &Rig) {
    let spec = rig.spec(&["true"]);
    let error = rig.runtime.start(&spec, Path::new("/nowhere.erofs"), &rig.network).await.expect_err("no image");
    assert!(format!("{error}").contains("/nowhere.erofs"), "{error}");
    assert!(rig.runtime.list().await.expect("list").is_empty());
    assert!(!rig.has_veth(spec.id));
    assert!(!rig.cgroup_dir("memory", spec.id).exists());
    rig.runtime.delete(spec.id).await.expect("delete what never was");
}

async fn starting_is_quick(rig: &Rig) {
    let first = rig.spec(&["sleep", "1000"]);
    rig.start(&first).await;
    let mut times = Vec::new();
    for _ in 0..20 {
        let spec = rig.spec(&["sleep", "1000"]);
        let asked = Instant::now();
        rig.start(&spec).await;
        times.push(asked.elapsed());
        rig.runtime.delete(spec.id).await.expect("delete");
    }
    times.sort();
    println!("start to exec: median {:?}, worst {:?}", times[10], times[19]);
    assert!(times[10] < Duration::from_millis(60) * slowness(), "{times:?}");
}

async fn holding_a_container_takes_little_memory(rig: &Rig) {
    let mut inits = Vec::new();
    for _ in 0..20 {
        inits.push(rig.start(&rig.spec(&["sleep", "1000"])).await);
    }
    let keeper = rig.runtime.keeper_pid().await.expect("a keeper");
    let each = inits.iter().map(|pid| anonymous_kib(*pid)).sum::<u64>() / 20;
    println!("memory of the keeper with 20 containers: {} KiB, of each tiny init: {each} KiB", anonymous_kib(keeper));
    // A debug build; one message buffer that is not given back would be 128 KiB more.
    assert!(each <= 224, "each init holds {each} KiB");
}

/// Memory in KiB that is not backed by a file (programs and libraries are there once for all), shared pages counted in
/// parts.
fn anonymous_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).expect("Pss_Anon");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn state_of(runtime: &LinuxRuntime, id: AllocationId) -> ContainerState {
    // A keeper that was just killed is noticed by the first call that fails.
    for _ in 0..50 {
        if let Ok(list) = runtime.list().await {
            let found = list.into_iter().find(|container| container.id == id).expect("known");
            return found.state;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no keeper answers");
}
