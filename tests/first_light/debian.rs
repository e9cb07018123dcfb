//! A Debian system: its systemd, a login on its console, its journal, packages over the network, services that are
//! published and that come back.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roost_tests::outside::Outside;
use roost_tests::rack::Rack;
use roost_tests::{port_to_publish, until};

use super::console::Typist;

/// The package that is installed, and one that it needs.
const PACKAGE: &str = "roost-web";
const NEEDED: &str = "roost-web-page";
/// Longer than a system takes that ends by itself, shorter than a stop that has to kill it.
const SECONDS_TO_STOP: &str = "120";

pub fn a_package_is_installed_served_and_back_after_a_restart(rack: &Rack, outside: &Outside) -> Result<()> {
    rack.api.store_image("debian", Path::new(root_file()?.trim()))?;
    let port = port_to_publish();
    rack.roost(&["launch", "debian", "deb", "--size", "small", "--publish", &format!("{port}:80")])?;
    is_running(rack)?;
    install(rack, outside)?;
    rack.roost(&["exec", "deb", "--", "systemctl", "enable", "--now", PACKAGE])?;
    let answers = || {
        until("the installed service answers at its published port", || {
            let answer = rack.api.fetch(&format!("http://127.0.0.1:{port}/page")).ok();
            Ok(answer.is_some_and(|answer| answer.body == "from a package\n").then_some(()))
        })
    };
    answers()?;
    let journal = rack.roost(&["exec", "deb", "--", "journalctl", "--no-pager", "-u", PACKAGE])?;
    ensure!(journal.contains("Started roost-web"), "{journal}");

    log_in(rack)?;
    let before = rack.api.instance("deb")?.started_at;
    rack.roost(&["restart", "deb"])?;
    is_running(rack)?;
    ensure!(rack.api.instance("deb")?.started_at != before, "it was not started again");
    answers()?;

    let began = Instant::now();
    rack.roost(&["stop", "-t", SECONDS_TO_STOP, "deb"])?;
    ensure!(began.elapsed() < Duration::from_secs(60), "its init did not end it: {:?}", began.elapsed());
    Ok(())
}

/// The root file of the recipe `debian`, built once.
fn root_file() -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rigs/image");
    let output = Command::new(&script).arg("debian").output().with_context(|| format!("start {}", script.display()))?;
    ensure!(output.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("its path is not text")
}

/// Waits until it has booted, and shows that every unit is well.
fn is_running(rack: &Rack) -> Result<()> {
    let mut last = String::new();
    let running = until("the system is running", || {
        let said = rack.run(&["exec", "deb", "--", "systemctl", "is-system-running"])?;
        last = format!("{}{}", said.stdout, said.stderr);
        // What has failed stays so.
        Ok(matches!(said.stdout.trim(), "running" | "degraded").then_some(said.stdout))
    });
    let state = running.with_context(|| format!("it is {last}"))?;
    if state.trim() == "running" {
        return Ok(());
    }
    let failed = rack.roost(&["exec", "deb", "--", "systemctl", "--failed", "--no-legend"])?;
    anyhow::bail!("units have failed:\n{failed}")
}

/// Installs the package from the machine outside, by its name.
fn install(rack: &Rack, outside: &Outside) -> Result<()> {
    publish_packages(&rack.scratch("packages")?, &outside.www().join("apt"))?;
    let source = format!("deb [trusted=yes] http://{}/apt ./", Outside::NAME);
    let install = format!(
        "rm -rf /etc/apt/sources.list.d; echo '{source}' > /etc/apt/sources.list; export DEBIAN_FRONTEND=noninteractive;
         apt-get -q update && apt-get -q install -y {PACKAGE} && dpkg -s {PACKAGE} {NEEDED} | grep -c '^Status: install ok'"
    );
    let said = rack.roost(&["exec", "deb", "--", "sh", "-c", &install])?;
    ensure!(said.ends_with("2\n"), "both packages are not installed:\n{said}");
    Ok(())
}

/// Makes the two packages and their index: a repository as `apt` wants it at least.
fn publish_packages(work: &Path, repository: &Path) -> Result<()> {
    fs::create_dir_all(repository)?;
    let web = work.join(PACKAGE);
    put(&web.join("usr/lib/systemd/system").join(format!("{PACKAGE}.service")), &unit())?;
    fs::create_dir_all(web.join("usr/lib").join(PACKAGE))?;
    fs::copy("/bin/busybox", web.join("usr/lib").join(PACKAGE).join("busybox")).context("busybox-static is needed")?;
    let page = work.join(NEEDED);
    put(&page.join("usr/share").join(PACKAGE).join("page"), "from a package\n")?;
    let mut index = String::new();
    for (tree, name, depends) in [(&web, PACKAGE, format!("Depends: {NEEDED}\n")), (&page, NEEDED, String::new())] {
        let control = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@roost.example>\n\
             {depends}Description: a web server of a test\n"
        );
        put(&tree.join("DEBIAN/control"), &control)?;
        let file = repository.join(format!("{name}.deb"));
        let (tree, path) = (tree.display().to_string(), file.display().to_string());
        tool("dpkg-deb", &["--root-owner-group", "--build", &tree, &path])?;
        let sum = tool("sha256sum", &[&path])?;
        let sum = sum.split(' ').next().unwrap_or_default();
        let size = fs::metadata(&file)?.len();
        index.push_str(&format!("{control}Filename: ./{name}.deb\nSize: {size}\nSHA256: {sum}\n\n"));
    }
    put(&repository.join("Packages"), &index)
}

fn unit() -> String {
    format!(
        "[Unit]\nDescription=roost-web\n[Service]\nDynamicUser=yes\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n\
         ExecStart=/usr/lib/{PACKAGE}/busybox httpd -f -p 80 -h /usr/share/{PACKAGE}\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file in a directory")?)?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn tool(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output().with_context(|| format!("start {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// At its console, with a password that root was given first.
fn log_in(rack: &Rack) -> Result<()> {
    rack.fed(&["exec", "-i", "deb", "--", "chpasswd"], b"root:correct horse\n".to_vec())?;
    let mut console = Typist::start(rack, &["console", "deb"])?;
    // From the scrollback; what is typed before its first prompt a getty throws away.
    console.shows("deb login: ")?;
    console.types("root\n")?;
    console.shows("Password: ")?;
    console.types("correct horse\n")?;
    console.shows("root@deb:~# ")?;
    console.types("systemctl is-active multi-user.target | tr a-z A-Z\n")?;
    console.shows("ACTIVE")?;
    console.types("\x01q")?;
    console.shows("detached from the console of deb")?;
    ensure!(console.ends()? == 0, "detaching is no failure");
    Ok(())
}
