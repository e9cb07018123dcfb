//! Files of an instance by `roost cp`, `roost file` and the API.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use roost_tests::rack::Rack;

/// Bytes of a file that is larger than every buffer on the way.
const MUCH: usize = 32 << 20;

pub fn copies_go_both_ways_as_with_docker(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "box", "--", "sleep", "100000"])?;
    let here = rack.scratch("copies")?;
    let path = |name: &str| here.join(name).display().to_string();
    let much: Vec<u8> = (0..MUCH).map(|n| (n % 251) as u8).collect();
    fs::create_dir_all(here.join("site/deep"))?;
    fs::write(here.join("site/index"), "hello\n")?;
    fs::write(here.join("site/deep/much"), &much)?;
    symlink("index", here.join("site/home"))?;
    fs::set_permissions(here.join("site/index"), fs::Permissions::from_mode(0o600))?;

    // Into a directory that is there, as one that is not, and only what is in it.
    rack.roost(&["cp", &path("site"), "box:/tmp"])?;
    rack.roost(&["cp", &path("site"), "box:/tmp/new"])?;
    rack.roost(&["cp", &path("site/."), "box:/tmp/new/"])?;
    rack.roost(&["cp", &path("site/index"), "box:/tmp/one"])?;
    let tree = "cd /tmp; find . | sort; stat -c '%u:%g %a' site/index; readlink new/home; cat one";
    let seen = rack.roost(&["exec", "box", "--", "sh", "-c", tree])?;
    let names = ["new", "new/deep", "new/deep/much", "new/home", "new/index", "one", "site", "site/deep"];
    ensure!(names.iter().all(|name| seen.contains(&format!("./{name}\n"))), "what came: {seen}");
    ensure!(seen.ends_with("0:0 600\nindex\nhello\n"), "owner, mode, link, content: {seen}");
    ensure!(!seen.contains(".part"), "a part was left: {seen}");

    rack.roost(&["cp", "box:/tmp/new", &path("back")])?;
    ensure!(fs::read(here.join("back/deep/much"))? == much, "{MUCH} bytes changed on their way");
    ensure!(fs::read_link(here.join("back/home"))?.to_str() == Some("index"), "the link is none");
    rack.roost(&["cp", "-L", "box:/tmp/new/home", &path("followed")])?;
    ensure!(fs::read(here.join("followed"))? == b"hello\n", "the link was not followed");

    // A tar archive on a standard stream.
    let archive = rack.fed(&["cp", "box:/tmp/site/index", "-"], Vec::new())?;
    rack.fed(&["cp", "-", "box:/etc"], archive)?;
    ensure!(rack.roost(&["exec", "box", "--", "cat", "/etc/index"])? == "hello\n", "the archive was not unpacked");

    for (words, part) in [
        (["cp", &path("site"), "box:/etc/passwd"], "is a file"),
        (["cp", "box:/no/such", &path("x")], "there is no '/no"),
        (["cp", "nobody:/etc", &path("x")], "no instance 'nobody'"),
        (["cp", &path("absent"), "box:/tmp"], "absent"),
        (["cp", &path("site"), &path("x")], "INSTANCE:PATH"),
    ] {
        let said = rack.run(&words)?;
        ensure!(said.code != 0 && said.stderr.contains(part), "{words:?}: {said:?}");
    }
    Ok(())
}

/// What a tenant prepares must not reach the files of whoever copies it.
pub fn a_hostile_tree_stays_where_it_is_put(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "evil", "--", "sleep", "100000"])?;
    let here = rack.scratch("hostile")?;
    fs::create_dir_all(here.join("victim"))?;
    fs::create_dir_all(here.join("taken"))?;
    // A link out of the tree that is there already when a directory of its name comes.
    let victim = here.join("victim").display().to_string();
    rack.roost(&["exec", "evil", "--", "sh", "-c", &format!("mkdir -p /t && ln -s {victim} /t/out")])?;
    rack.roost(&["cp", "evil:/t", &here.join("taken").display().to_string()])?;
    rack.roost(&["exec", "evil", "--", "sh", "-c", "rm /t/out && mkdir /t/out && echo x > /t/out/file"])?;
    let said = rack.run(&["cp", "evil:/t", &here.join("taken").display().to_string()])?;
    ensure!(said.code != 0, "an archive was unpacked through a link: {said:?}");
    ensure!(fs::read_dir(here.join("victim"))?.next().is_none(), "a file came out where none was asked for");
    Ok(())
}

pub fn the_api_reads_writes_lists_and_removes(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "box", "--", "sleep", "100000"])?;
    let at = |query: &str| format!("/v1/instances/box/files?path={query}");
    let put = |query: &str, body: &str| rack.api.send(Method::PUT, &at(query), Some(body.to_owned()));
    let answer = put("/srv/a/b&mode=0604&uid=3&gid=4&parents=true", "content")?;
    ensure!(answer.status == 204, "{answer:?}");
    ensure!(rack.roost(&["exec", "box", "--", "stat", "-c", "%a %u %g", "/srv/a/b"])? == "604 3 4\n", "attributes");
    let answer = rack.api.send(Method::GET, &at("/srv/a/b"), None)?;
    ensure!((answer.status, answer.body.as_str()) == (200, "content"), "{answer:?}");
    let list = rack.api.send(Method::GET, &at("/srv/a"), None)?.json()?;
    let entry = &list["items"][0];
    ensure!(entry["name"] == "b" && entry["mode"] == "0604" && entry["size_bytes"] == 7, "{list}");
    ensure!(rack.roost(&["file", "ls", "-q", "box:/srv/a"])? == "b\n", "roost file ls");

    for (query, status, code) in [
        ("srv", 400, "invalid_query"),
        ("/srv/x&mode=9", 400, "invalid_query"),
        ("/srv/x&uid=65536", 400, "invalid_query"),
        ("/absent/x", 404, "not_found"),
        ("/srv/a", 409, "conflict"),
        ("/proc/sysrq-trigger", 409, "conflict"),
        ("/sys/kernel/uevent_helper", 403, "forbidden"),
        ("/srv&archive=true", 400, "malformed_archive"),
    ] {
        let answer = put(query, "x")?;
        let problem = answer.json()?;
        ensure!((answer.status, problem["code"].as_str()) == (status, Some(code)), "{query}: {}", answer.body);
    }
    let delete = |query: &str| Ok::<_, anyhow::Error>(rack.api.send(Method::DELETE, &at(query), None)?.status);
    ensure!(delete("/srv/a")? == 409 && delete("/srv/a&recursive=true")? == 204 && delete("/srv/a")? == 404, "delete");

    rack.roost(&["stop", "box"])?;
    let refused = rack.api.send(Method::GET, &at("/etc"), None)?;
    let code = refused.json()?["code"].as_str().map(str::to_owned).context("no code")?;
    ensure!((refused.status, code.as_str()) == (409, "not_running"), "{refused:?}");
    Ok(())
}
