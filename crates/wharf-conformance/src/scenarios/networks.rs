//! User-defined networks: their life, who is in them, names, isolation.

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_testkit::EngineKind;

use super::containers::until;
use super::lan::restart_with;
use crate::Case;
use crate::case::skip;

const SLEEP: [&str; 3] = ["busybox", "sleep", "1000"];

/// `run -d` of a container that sleeps.
pub(super) fn start(case: &Case, name: &str, options: &[&str]) -> Result<()> {
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(options);
    args.extend(SLEEP);
    case.ok(&args).map(drop)
}

fn inspect(case: &Case, name: &str, template: &str) -> Result<String> {
    case.ok(&["inspect", "-f", template, name])
}

/// Runs a shell line inside a container; what it prints.
fn sh(case: &Case, container: &str, line: &str) -> Result<String> {
    case.ok(&["exec", container, "sh", "-c", line])
}

/// The addresses that a name has for a container, sorted.
fn lookup(case: &Case, container: &str, name: &str) -> Result<Vec<String>> {
    let line = format!(
        "nslookup -type=a {name} 127.0.0.11 | sed -n '/^Name/,$p' | sed -n 's/^Address[^:]*: *//p'"
    );
    let mut found: Vec<String> = sh(case, container, &line)?
        .lines()
        .map(str::to_owned)
        .collect();
    found.sort();
    Ok(found)
}

pub(crate) fn create_list_inspect_remove(case: &mut Case) -> Result<()> {
    let id = case.ok(&[
        "network",
        "create",
        "--label",
        "a=b",
        "--attachable",
        "--subnet",
        "172.28.0.0/16",
        "--gateway",
        "172.28.0.9",
        "--ip-range",
        "172.28.5.0/24",
        "--aux-address",
        "printer=172.28.5.1",
        "n1",
    ])?;
    ensure!(id.len() == 64, "{id}");
    let shown = case.ok(&[
        "network",
        "inspect",
        "-f",
        "{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.Attachable}} {{.EnableIPv6}} {{.Labels}} {{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}}{{end}}",
        "n1",
    ])?;
    ensure!(
        shown == "n1 bridge local false true false map[a:b] 172.28.0.0/16 172.28.5.0/24 172.28.0.9",
        "{shown}"
    );
    case.fails(
        &["network", "create", "n1"],
        1,
        "network with name n1 already exists",
    )?;
    // The API's description does not name this status.
    let body = json!({"Name": "n1"});
    if case.engine.kind != EngineKind::Dockerd {
        // Before 1.44 a client had to ask for it.
        let answer = case.engine.api("POST", "/networks/create", Some(&body))?;
        ensure!(answer.status == 409, "{}", answer.status);
    }
    let names = case.ok(&[
        "network",
        "ls",
        "--format",
        "{{.Name}}",
        "--filter",
        "label=a=b",
    ])?;
    ensure!(names == "n1", "{names}");
    let names = case.ok(&[
        "network",
        "ls",
        "--format",
        "{{.Name}}",
        "--filter",
        "type=builtin",
    ])?;
    ensure!(names == "bridge\nhost\nnone", "{names}");
    case.fails(
        &["network", "ls", "--filter", "odd=1"],
        1,
        "nvalid filter 'odd'",
    )?;
    start(case, "c1", &["--network", "n1"])?;
    // The range gives addresses, but for the one that is reserved.
    let ip = inspect(case, "c1", "{{.NetworkSettings.Networks.n1.IPAddress}}")?;
    ensure!(ip == "172.28.5.0" || ip == "172.28.5.2", "{ip}");
    case.fails(&["network", "rm", "n1"], 1, "has active endpoints")?;
    case.expect("DELETE", "/networks/n1", None, 403)?;
    case.ok(&["rm", "-f", "c1"])?;
    case.prints(&["network", "rm", "n1"], "n1")?;
    case.fails(&["network", "rm", "n1"], 1, "network n1 not found")?;
    case.expect("GET", "/networks/n1", None, 404)?;
    case.fails(
        &["network", "rm", "bridge"],
        1,
        "bridge is a pre-defined network and cannot be removed",
    )
}

pub(crate) fn bad_networks_are_refused(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return skip("Of 20.10, which says it in other words, and makes some of them");
    }
    case.ok(&["network", "create", "--subnet", "172.28.0.0/16", "n1"])?;
    for (args, words) in [
        (
            &["bridge"][..],
            "operation is not permitted on predefined bridge network",
        ),
        (&["-d", "odd", "n2"], "plugin \"odd\" not found"),
        (
            &["-d", "host", "n2"],
            "only one instance of \"host\" network is allowed",
        ),
        (&["-d", "overlay", "n2"], "This node is not a swarm manager"),
        (
            &["--subnet", "172.28.1.0/24", "n2"],
            "Pool overlaps with other one on this address space",
        ),
        (
            &["--subnet", "10.1.2.3/24", "n2"],
            "it should be 10.1.2.0/24",
        ),
        (
            &["--subnet", "10.1.2.0/24", "--gateway", "10.9.9.9", "n2"],
            "no matching subnet for gateway 10.9.9.9",
        ),
        (
            &["--subnet", "10.1.2.0/24", "--subnet", "10.1.3.0/24", "n2"],
            "bridge driver doesn't support multiple subnets",
        ),
        (
            &["-o", "com.docker.network.bridge.enable_icc=x", "n2"],
            "failed to parse com.docker.network.bridge.enable_icc value: x",
        ),
    ] {
        let mut all = vec!["network", "create"];
        all.extend(args);
        case.fails(&all, 1, words)?;
    }
    for (options, words) in [
        (
            &["--network", "n1", "--ip", "172.29.0.9"][..],
            "no configured subnet",
        ),
        (
            &["--ip", "172.17.0.9"],
            "user specified IP address is supported on user defined networks only",
        ),
    ] {
        let mut all = vec!["run", "--rm"];
        all.extend(options);
        all.extend(["busybox", "true"]);
        case.fails(&all, 125, words)?;
    }
    case.fails(
        &[
            "run",
            "--name",
            "c9",
            "--network",
            "nope",
            "busybox",
            "true",
        ],
        125,
        "network nope not found",
    )?;
    let body = json!({"Name": "n3", "IPAM": {"Config": [{"Subnet": "10.5.0.0/16", "IPRange": "10.6.0.0/24", "Gateway": "10.7.0.1"}]}});
    let text = case.expect("POST", "/networks/create", Some(&body), 400)?;
    let text = text.to_string();
    for words in [
        "invalid network config",
        "doesn't contain ip-range",
        "doesn't contain this address",
    ] {
        ensure!(text.contains(words), "{text}");
    }
    for (config, words) in [
        (
            json!({"Subnet": "010.5.0.0/16"}),
            "invalid subnet 010.5.0.0/16: invalid CIDR block notation",
        ),
        (
            json!({"Gateway": "10.5.0.1"}),
            "invalid subnet : invalid CIDR block notation",
        ),
        (
            json!({"Subnet": "10.5.0.0/24", "IPRange": "10.5.0.255/32"}),
            "failed to allocate gateway (): no available addresses on this pool",
        ),
    ] {
        let body = json!({"Name": "n3", "IPAM": {"Config": [config]}});
        let answer = case.engine.api("POST", "/networks/create", Some(&body))?;
        let text = answer.message();
        ensure!(answer.status >= 400 && text.contains(words), "{text}");
    }
    let names = case.ok(&["network", "ls", "--format", "{{.Name}}"])?;
    ensure!(names == "bridge\nhost\nn1\nnone", "{names}");
    Ok(())
}

/// Networks without a subnet of their own get one of the pools that nobody has, as long as there is one.
pub(crate) fn pools_run_out(case: &mut Case) -> Result<()> {
    let pools = json!({ "default-address-pools": [{ "base": "10.60.0.0/22", "size": 24 }] });
    restart_with(case, &pools)?;
    let host = "ip link add h0 type veth peer name h1 && ip addr add 10.60.2.1/24 dev h0 && ip link set h0 up && ip link set h1 up";
    case.engine.world.sh(host)?;
    let mut refused = None;
    for name in ["n1", "n2", "n3", "n4"] {
        let made = case.run(&["network", "create", name])?;
        if made.code != 0 {
            refused = Some(made.stderr);
            break;
        }
    }
    let words = "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network";
    ensure!(
        refused.as_ref().is_some_and(|text| text.contains(words)),
        "{refused:?}"
    );
    let subnet = "{{range .IPAM.Config}}{{.Subnet}}{{end}}";
    let names = case.ok(&["network", "ls", "-q", "--filter", "driver=bridge"])?;
    let inspect = ["network", "inspect", "-f", subnet];
    let ids: Vec<&str> = names.lines().collect();
    let mut subnets: Vec<String> = case
        .ok(&[&inspect[..], &ids].concat())?
        .lines()
        .map(str::to_owned)
        .collect();
    subnets.sort();
    // Not the one that is the host's own.
    ensure!(
        subnets == ["10.60.0.0/24", "10.60.1.0/24", "10.60.3.0/24"],
        "{subnets:?}"
    );
    if !case.engine.kind.is_dockerd() {
        let own = ["network", "create", "--subnet", "10.60.2.0/24", "own"];
        case.fails(&own, 1, "which this host reaches otherwise")?;
    }
    case.ok(&["network", "rm", "n1"])?;
    case.ok(&["network", "create", "again"]).map(drop)
}

/// What a subnet's addresses are used for, since 1.52.
pub(crate) fn use_of_addresses(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Since 29.0");
    }
    let subnet = ["--subnet", "10.61.0.0/24", "--ip-range", "10.61.0.128/29"];
    case.ok(&[&["network", "create"], &subnet[..], &["n1"]].concat())?;
    start(case, "c1", &["--network", "n1"])?;
    let shown = case.expect("GET", "/networks/n1?verbose=true", None, 200)?;
    let status = &shown["Status"]["IPAM"]["Subnets"]["10.61.0.0/24"];
    // The subnet's own, the broadcast address, the gateway, the container; of the eight of the range two are taken.
    let wanted = json!({ "IPsInUse": 4, "DynamicIPsAvailable": 6 });
    ensure!(*status == wanted, "{shown}");
    Ok(())
}

pub(crate) fn names_are_any_text(case: &mut Case) -> Result<()> {
    for name in ["a b", "-é/日本", "container:x", "_"] {
        case.ok(&["network", "create", "--", name])?;
        let ask = ["busybox", "nslookup", "-type=a", "me"];
        // Not the network of another container.
        if !name.starts_with("container:") {
            let network = format!("--network={name}");
            let run = ["run", "--rm", &network, "--network-alias=me"];
            let seen = case.ok(&[&run[..], &ask].concat())?;
            ensure!(seen.contains("me"), "{name}: {seen}");
        }
        let seen = case.ok(&["network", "inspect", "-f", "{{.Name}}", "--", name])?;
        ensure!(seen == name, "{seen}");
        case.ok(&["network", "rm", "--", name])?;
    }
    let empty = "com.docker.network.bridge.name=";
    case.ok(&["network", "create", "-o", empty, "n1"])?;
    case.fails(&["network", "create", " "], 1, "invalid name")
}

pub(crate) fn connect_and_disconnect_live(case: &mut Case) -> Result<()> {
    case.ok(&[
        "network",
        "create",
        "--subnet",
        "172.30.1.0/24",
        "--gateway",
        "172.30.1.1",
        "n1",
    ])?;
    case.ok(&[
        "network",
        "create",
        "--subnet",
        "172.30.2.0/24",
        "--gateway",
        "172.30.2.1",
        "n2",
    ])?;
    start(case, "c1", &["--network", "n1"])?;
    case.ok(&[
        "network",
        "connect",
        "--ip",
        "172.30.2.77",
        "--alias",
        "other",
        "n2",
        "c1",
    ])?;
    let addresses = sh(case, "c1", "ip -4 -o addr show | awk '/eth/{print $2, $4}'")?;
    ensure!(
        addresses == "eth0 172.30.1.2/24\neth1 172.30.2.77/24",
        "{addresses}"
    );
    let route = sh(case, "c1", "ip route | head -n1")?;
    ensure!(
        route.starts_with("default via 172.30.1.1 dev eth0"),
        "{route}"
    );
    sh(case, "c1", "grep -q ^172.30.2.77 /etc/hosts")?;
    case.fails(
        &["network", "connect", "n2", "c1"],
        1,
        "endpoint with name c1 already exists in network n2",
    )?;
    case.fails(
        &["network", "connect", "nope", "c1"],
        1,
        "network nope not found",
    )?;
    case.fails(
        &["network", "connect", "n1", "nope"],
        1,
        "No such container: nope",
    )?;
    case.fails(
        &["network", "connect", "host", "c1"],
        1,
        "container cannot be disconnected from host network or connected to host network",
    )?;
    let both = inspect(
        case,
        "c1",
        "{{range $name, $one := .NetworkSettings.Networks}}{{$name}}={{$one.IPAddress}} {{end}}",
    )?;
    ensure!(both == "n1=172.30.1.2 n2=172.30.2.77 ", "{both}");
    // The way outside moves to the network that is left.
    case.ok(&["network", "disconnect", "n1", "c1"])?;
    let route = sh(case, "c1", "ip route | head -n1")?;
    ensure!(
        route.starts_with("default via 172.30.2.1 dev eth1"),
        "{route}"
    );
    case.fails(
        &["network", "disconnect", "n1", "c1"],
        1,
        "is not connected to network n1",
    )?;
    // A stopped one: it is there at the next start.
    case.ok(&["stop", "-t", "0", "c1"])?;
    case.ok(&["network", "connect", "n1", "c1"])?;
    case.ok(&["start", "c1"])?;
    let both = inspect(
        case,
        "c1",
        "{{range $name, $one := .NetworkSettings.Networks}}{{$name}}={{$one.IPAddress}} {{end}}",
    )?;
    ensure!(both == "n1=172.30.1.2 n2=172.30.2.77 ", "{both}");
    case.ok(&[
        "run",
        "-d",
        "--name",
        "k1",
        "--network",
        "container:c1",
        "busybox",
        "sleep",
        "1000",
    ])?;
    case.fails(
        &["network", "connect", "n1", "k1"],
        1,
        "container sharing network namespace with another container or host",
    )?;
    start(case, "o1", &["--network", "none"])?;
    case.fails(
        &["network", "connect", "n1", "o1"],
        1,
        "one of the networks in private (none) mode",
    )?;
    case.ok(&["network", "disconnect", "none", "o1"])?;
    case.ok(&["network", "connect", "n1", "o1"])?;
    sh(case, "o1", "ip -4 -o addr show eth0 | grep -q 172.30.1")?;
    Ok(())
}

pub(crate) fn names_resolve(case: &mut Case) -> Result<()> {
    case.ok(&["network", "create", "n1"])?;
    case.ok(&["network", "create", "n2"])?;
    start(
        case,
        "a1",
        &[
            "--network",
            "n1",
            "--network-alias",
            "web",
            "--hostname",
            "alpha",
        ],
    )?;
    start(case, "a2", &["--network", "n1", "--network-alias", "web"])?;
    start(case, "b1", &["--network", "n2"])?;
    let ip = |name: &str| {
        inspect(
            case,
            name,
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        )
    };
    let (one, two) = (ip("a1")?, ip("a2")?);
    let conf = sh(case, "a1", "grep -v '^#' /etc/resolv.conf")?;
    ensure!(conf.contains("nameserver 127.0.0.11"), "{conf}");
    ensure!(conf.contains("options ndots:0"), "{conf}");
    let short = inspect(case, "a1", "{{.Id}}")?[..12].to_owned();
    for name in ["a1", &short, "a1.n1", "A1"] {
        let found = lookup(case, "a2", name)?;
        ensure!(found == [one.clone()], "{name}: {found:?}");
    }
    let mut all = vec![one.clone(), two.clone()];
    all.sort();
    let found = lookup(case, "a1", "web")?;
    ensure!(found == all, "{found:?}");
    // The way back.
    let back = sh(case, "a1", &format!("nslookup {two} 127.0.0.11"))?;
    ensure!(back.contains("a2.n1"), "{back}");
    // Only one's own networks are known.
    ensure!(
        lookup(case, "b1", "a1").is_err_and_or_empty(),
        "b1 knows a1"
    );
    case.ok(&["network", "connect", "n2", "a1"])?;
    until(|| Ok(lookup(case, "b1", "a1").is_ok_and(|found| found.len() == 1)))?;
    sh(case, "b1", "ping -c1 -W5 a1")?;
    // A new name, and an end.
    case.ok(&["rename", "a2", "z2"])?;
    ensure!(lookup(case, "a1", "z2")? == [two], "z2");
    case.ok(&["rm", "-f", "z2"])?;
    ensure!(lookup(case, "a1", "web")? == [one], "web");
    Ok(())
}

/// Addresses that nobody can have, and a way outside that is not the host; modes that make no sense.
pub(crate) fn what_has_no_address_is_refused(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // Says the same in other words.
    }
    let create = ["network", "create", "--subnet", "10.5.0.0/24"];
    for (option, value, words) in [
        (
            "--gateway",
            "10.5.0.0",
            "failed to allocate gateway (10.5.0.0): Address already in use",
        ),
        (
            "--gateway",
            "10.5.0.255",
            "failed to allocate gateway (10.5.0.255): Address already in use",
        ),
        (
            "--aux-address",
            "a=10.5.0.1",
            "failed to allocate secondary ip address (a:10.5.0.1): Address already in use",
        ),
        (
            "--aux-address",
            "a=10.5.0.255",
            "failed to allocate secondary ip address (a:10.5.0.255): Address already in use",
        ),
    ] {
        let args = [&create[..], &[option, value, "n1"]].concat();
        case.fails(&args, 1, words)?;
    }
    let router = ["--aux-address", "DefaultGatewayIPv4=10.5.0.9", "n1"];
    case.ok(&[&create[..], &router].concat())?;
    start(case, "c1", &["--network", "n1"])?;
    let route = sh(case, "c1", "ip route | head -n1")?;
    ensure!(
        route.starts_with("default via 10.5.0.9 dev eth0"),
        "{route}"
    );
    let gateway = inspect(case, "c1", "{{.NetworkSettings.Networks.n1.Gateway}}")?;
    ensure!(gateway == "10.5.0.9", "{gateway}");
    case.fails(
        &["network", "disconnect", "none-such", "c1"],
        1,
        "network none-such not found",
    )?;
    case.ok(&["stop", "-t", "0", "c1"])?;
    let names = inspect(case, "c1", "{{.NetworkSettings.Networks.n1.DNSNames}}")?;
    ensure!(
        names.starts_with("[c1 "),
        "those it will have again: {names}"
    );
    if !case.engine.kind.is_dockerd() {
        // dockerd shows the old ones until the next start.
        case.ok(&["rename", "c1", "c2"])?;
        let names = inspect(case, "c2", "{{.NetworkSettings.Networks.n1.DNSNames}}")?;
        ensure!(names.starts_with("[c2 "), "{names}");
        case.ok(&["rename", "c2", "c1"])?;
    }
    // Modes that lead nowhere, and settings of the host's own network.
    for (options, words) in [
        (
            &["--network", "container:own"][..],
            "cannot join own network",
        ),
        (
            &["--network", "container:c1"],
            "cannot join network of a non running container",
        ),
        (
            &["--network", "container:"],
            "Invalid network mode: invalid container format container:<name|id>",
        ),
        (
            &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"],
            "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace",
        ),
    ] {
        let run = ["run", "--rm", "--name", "own"];
        let args = [&run[..], options, &["busybox", "true"]].concat();
        case.fails(&args, 125, words)?;
    }
    Ok(())
}

/// Whoever asked for its address once and for all, as nginx does, finds it again.
pub(crate) fn a_restarted_container_is_where_it_was(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // Gives out the next address of the subnet, until it has come round.
    }
    case.ok(&["network", "create", "n1"])?;
    start(case, "c1", &["--network", "n1"])?;
    start(case, "c2", &["--network", "n1"])?;
    let address = || inspect(case, "c1", "{{.NetworkSettings.Networks.n1.IPAddress}}");
    let first = address()?;
    for _ in 0..5 {
        case.ok(&["restart", "-t", "0", "c1"])?;
        ensure!(address()? == first, "{first} became {}", address()?);
        ensure!(lookup(case, "c2", "c1")? == std::slice::from_ref(&first));
        sh(case, "c2", &format!("ping -c1 -W5 {first}"))?;
    }
    Ok(())
}

/// An alias goes from one container to the next while clients use it (blue and green).
pub(crate) fn aliases_move(case: &mut Case) -> Result<()> {
    case.ok(&["network", "create", "n1"])?;
    let serve = |name: &str, options: &[&str]| {
        let line = format!("mkdir /w; echo {name} > /w/index.html; exec httpd -f -p 80 -h /w");
        let run = ["run", "-d", "--name", name, "--network", "n1"];
        let args = [&run[..], options, &["busybox", "sh", "-c", &line]].concat();
        case.ok(&args).map(drop)
    };
    serve("blue", &["--network-alias", "web"])?;
    serve("green", &[])?;
    start(case, "client", &["--network", "n1"])?;
    let page = || sh(case, "client", "timeout 20 wget -qO- http://web/");
    until(|| Ok(page().is_ok_and(|page| page == "blue")))?;
    let green = ["n1", "green"];
    case.ok(&[&["network", "disconnect"], &green[..]].concat())?;
    case.ok(&[&["network", "connect", "--alias", "web"], &green[..]].concat())?;
    ensure!(lookup(case, "client", "web")?.len() == 2, "both");
    case.ok(&["network", "disconnect", "n1", "blue"])?;
    ensure!(page()? == "green", "green alone");
    case.ok(&["network", "connect", "n1", "blue"])?;
    let found = lookup(case, "client", "web")?;
    let ip = inspect(case, "green", "{{.NetworkSettings.Networks.n1.IPAddress}}")?;
    ensure!(found == [ip], "blue has lost the alias: {found:?}");
    ensure!(
        lookup(case, "client", "blue")?.len() == 1,
        "blue by its name"
    );
    // One that stands still is there; one that has ended is not.
    case.ok(&["pause", "green"])?;
    ensure!(lookup(case, "client", "web")?.len() == 1, "paused");
    case.ok(&["unpause", "green"])?;
    ensure!(page()? == "green", "after the pause");
    case.ok(&["stop", "-t", "0", "green"])?;
    ensure!(
        lookup(case, "client", "web").is_err_and_or_empty(),
        "stopped"
    );
    Ok(())
}

trait Empty {
    fn is_err_and_or_empty(&self) -> bool;
}

impl Empty for Result<Vec<String>> {
    fn is_err_and_or_empty(&self) -> bool {
        self.as_ref().map_or(true, Vec::is_empty)
    }
}

pub(crate) fn port_53_stays_free(case: &mut Case) -> Result<()> {
    case.ok(&["network", "create", "n1"])?;
    let serve = "while :; do echo mine | nc -l -p 53; done";
    case.ok(&[
        "run",
        "-d",
        "--name",
        "dns",
        "--network",
        "n1",
        "busybox",
        "sh",
        "-c",
        serve,
    ])?;
    start(case, "c1", &["--network", "n1"])?;
    until(|| Ok(sh(case, "c1", "timeout 2 nc dns 53 < /dev/null || true")? == "mine"))?;
    // Its own resolver answers beside it.
    ensure!(lookup(case, "dns", "c1")?.len() == 1, "c1");
    Ok(())
}

pub(crate) fn links_name_others(case: &mut Case) -> Result<()> {
    case.ok(&["network", "create", "n1"])?;
    start(case, "db", &["--network", "n1"])?;
    start(case, "c1", &["--network", "n1", "--link", "db:storage"])?;
    start(case, "c2", &["--network", "n1"])?;
    let found = lookup(case, "c1", "storage")?;
    let ip = inspect(case, "db", "{{.NetworkSettings.Networks.n1.IPAddress}}")?;
    ensure!(found == [ip], "{found:?}");
    ensure!(
        lookup(case, "c2", "storage").is_err_and_or_empty(),
        "c2 knows it"
    );
    Ok(())
}

pub(crate) fn networks_are_apart(case: &mut Case) -> Result<()> {
    case.ok(&["network", "create", "n1"])?;
    case.ok(&["network", "create", "n2"])?;
    case.ok(&["network", "create", "--internal", "in1"])?;
    let serve = "while :; do echo here | nc -l -p 9000; done";
    for (name, network) in [("s1", "n1"), ("i1", "in1")] {
        case.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--network",
            network,
            "busybox",
            "sh",
            "-c",
            serve,
        ])?;
    }
    start(case, "c1", &["--network", "n1"])?;
    start(case, "c2", &["--network", "n2"])?;
    start(case, "j1", &["--network", "in1"])?;
    let ip = |name: &str| {
        inspect(
            case,
            name,
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        )
    };
    let reach = |from: &str, to: &str| {
        sh(
            case,
            from,
            &format!("timeout 2 nc {to} 9000 < /dev/null || true"),
        )
    };
    until(|| Ok(reach("c1", "s1")? == "here" && reach("j1", "i1")? == "here"))?;
    let (server, inside) = (ip("s1")?, ip("i1")?);
    ensure!(reach("c2", &server)?.is_empty(), "n2 reaches n1");
    ensure!(
        reach("c2", &inside)?.is_empty(),
        "n2 reaches the internal network"
    );
    ensure!(
        reach("j1", &server)?.is_empty(),
        "the internal network reaches n1"
    );
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // Has a way that leads nowhere.
    }
    let routes = sh(case, "j1", "ip route")?;
    ensure!(!routes.contains("default"), "{routes}");
    let gateway = inspect(case, "j1", "{{.NetworkSettings.Networks.in1.Gateway}}")?;
    ensure!(gateway.is_empty(), "{gateway}");
    Ok(())
}

pub(crate) fn several_networks_at_the_start(case: &mut Case) -> Result<()> {
    for name in ["n1", "n2"] {
        case.ok(&["network", "create", name])?;
    }
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(());
    }
    start(
        case,
        "c1",
        &[
            "--network",
            "n2",
            "--network",
            "name=n1,alias=x,mac-address=02:42:aa:00:00:07",
            "-p",
            "8080:80",
        ],
    )?;
    let links = sh(case, "c1", "ip -4 -o addr | grep -c eth")?;
    ensure!(links == "2", "{links}");
    let mac = inspect(case, "c1", "{{.NetworkSettings.Networks.n1.MacAddress}}")?;
    ensure!(mac == "02:42:aa:00:00:07", "{mac}");
    // The first by name leads outside.
    let gateway = inspect(case, "c1", "{{.NetworkSettings.Networks.n1.Gateway}}")?;
    let route = sh(case, "c1", "ip route | head -n1")?;
    ensure!(
        route.starts_with(&format!("default via {gateway} ")),
        "{route}"
    );
    case.command(&[
        "exec",
        "-d",
        "c1",
        "sh",
        "-c",
        "while :; do echo served | nc -l -p 80; done",
    ])
    .status()?;
    let answers = || {
        Ok(case
            .engine
            .world
            .sh("timeout 2 busybox nc 127.0.0.1 8080 < /dev/null || true")?
            == "served\n")
    };
    until(answers)?;
    // Its ports move along with the way outside.
    case.ok(&["network", "disconnect", "n1", "c1"])?;
    until(answers)?;
    let gateway = case.ok(&[
        "network",
        "inspect",
        "-f",
        "{{range .IPAM.Config}}{{.Gateway}}{{end}}",
        "n2",
    ])?;
    let line = format!("timeout 2 busybox nc {gateway} 8080 < /dev/null || true");
    until(|| Ok(case.engine.world.sh(&line)? == "served\n"))
}

pub(crate) fn prune_takes_the_unused(case: &mut Case) -> Result<()> {
    for (name, label) in [("n1", "keep"), ("n2", "drop"), ("n3", "drop")] {
        case.ok(&["network", "create", "--label", label, name])?;
    }
    start(case, "c1", &["--network", "n3"])?;
    let pruned = case.ok(&["network", "prune", "-f", "--filter", "label=drop"])?;
    ensure!(pruned.trim() == "Deleted Networks:\nn2", "{pruned}");
    let names = case.ok(&[
        "network",
        "ls",
        "--format",
        "{{.Name}}",
        "--filter",
        "type=custom",
    ])?;
    ensure!(names == "n1\nn3", "{names}");
    Ok(())
}

/// What is told of networks from `since`, as the clock of the world has it, until now.
fn told(case: &Case, since: &str, format: &str) -> Result<String> {
    let until = now(case)?;
    case.ok(&[
        "events",
        "--since",
        since,
        "--until",
        &until,
        "--filter",
        "type=network",
        "--format",
        format,
    ])
}

fn now(case: &Case) -> Result<String> {
    let time = case.engine.world.sh("date +%s.%N")?;
    Ok(time.trim().to_owned())
}

pub(crate) fn events_of_networks(case: &mut Case) -> Result<()> {
    let since = now(case)?;
    case.ok(&["network", "create", "n1"])?;
    start(case, "c1", &[])?;
    case.ok(&["network", "connect", "n1", "c1"])?;
    case.ok(&["network", "disconnect", "n1", "c1"])?;
    case.ok(&["network", "rm", "n1"])?;
    let format = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}";
    let events = told(case, &since, format)?;
    let wanted = "create n1 bridge\nconnect bridge bridge\nconnect n1 bridge\ndisconnect n1 bridge\ndestroy n1 bridge";
    // dockerd says it twice when a container is disconnected.
    let mut told: Vec<&str> = events.lines().collect();
    told.dedup();
    ensure!(told.join("\n") == wanted, "{events}");
    Ok(())
}

/// What is told, and what is left to see, of the networks of one whose program is not there.
pub(crate) fn a_start_that_fails(case: &mut Case) -> Result<()> {
    let since = now(case)?;
    let id = case.ok(&["network", "create", "n1"])?;
    let run = [
        "run",
        "--name",
        "c1",
        "--network",
        "n1",
        "--network-alias",
        "al",
    ];
    case.fails(&[&run[..], &["busybox", "/nope"]].concat(), 127, "/nope")?;
    let format = "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.type}}";
    let told = told(case, &since, format)?;
    let wanted = ["create", "connect", "disconnect"].map(|action| format!("{action} {id} bridge"));
    ensure!(told.lines().eq(wanted), "{told}");
    let again = case
        .expect("POST", "/containers/c1/restart", None, 500)?
        .to_string();
    ensure!(again.contains("Cannot restart container c1: "), "{again}");
    let seen = inspect(case, "c1", "{{.NetworkSettings.Networks.n1.NetworkID}}")?;
    ensure!(seen == id, "{seen}");
    if case.engine.kind != EngineKind::Dockerd {
        let names = inspect(case, "c1", "{{.NetworkSettings.Networks.n1.DNSNames}}")?;
        ensure!(names.starts_with("[c1 al "), "{names}");
    }
    Ok(())
}

pub(crate) fn dual_stack(case: &mut Case) -> Result<()> {
    case.ok(&[
        "network",
        "create",
        "--ipv6",
        "--subnet",
        "fd00:77::/64",
        "--gateway",
        "fd00:77::1",
        "n6",
    ])?;
    start(case, "c1", &["--network", "n6", "--ip6", "fd00:77::99"])?;
    start(case, "c2", &["--network", "n6"])?;
    let shown = inspect(
        case,
        "c1",
        "{{.NetworkSettings.Networks.n6.GlobalIPv6Address}}/{{.NetworkSettings.Networks.n6.GlobalIPv6PrefixLen}} {{.NetworkSettings.Networks.n6.IPv6Gateway}}",
    )?;
    ensure!(shown == "fd00:77::99/64 fd00:77::1", "{shown}");
    sh(case, "c2", "ping -6 -c1 -W5 fd00:77::99")?;
    sh(case, "c2", "ping -6 -c1 -W5 c1")?;
    let route = sh(case, "c1", "ip -6 route | grep default")?;
    ensure!(route.contains("via fd00:77::1 dev eth0"), "{route}");
    Ok(())
}

pub(crate) fn networks_outlive_the_daemon(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It kills containers when it starts again, unless told to leave them alive");
    }
    case.ok(&["network", "create", "--subnet", "172.30.1.0/24", "n1"])?;
    case.ok(&["network", "create", "n2"])?;
    start(case, "a1", &["--network", "n1"])?;
    start(case, "b1", &["--network", "n1", "--network-alias", "web"])?;
    case.ok(&["network", "connect", "n2", "a1"])?;
    let before = case.ok(&[
        "inspect",
        "-f",
        "{{json .NetworkSettings.Networks}}",
        "a1",
        "b1",
    ])?;
    case.engine.kill_9()?;
    case.engine.launch()?;
    let after = case.ok(&[
        "inspect",
        "-f",
        "{{json .NetworkSettings.Networks}}",
        "a1",
        "b1",
    ])?;
    ensure!(before == after, "{before} became {after}");
    ensure!(
        lookup(case, "a1", "web")?.len() == 1,
        "names after a restart"
    );
    sh(case, "a1", "ping -c1 -W5 b1")?;
    // Connections can still be changed, and addresses are not given out twice.
    case.ok(&["network", "disconnect", "n2", "a1"])?;
    start(case, "c1", &["--network", "n1"])?;
    case.prints(
        &[
            "inspect",
            "-f",
            "{{.NetworkSettings.Networks.n1.IPAddress}}",
            "c1",
        ],
        "172.30.1.4",
    )?;
    case.fails(&["network", "rm", "n1"], 1, "has active endpoints")?;
    case.prints(&["network", "rm", "n2"], "n2")?;
    case.ok(&["rm", "-f", "a1", "b1", "c1"])?;
    case.prints(&["network", "rm", "n1"], "n1")?;
    let links = case.engine.world.sh("ip -o link")?;
    ensure!(!links.contains("br-"), "{links}");
    Ok(())
}

pub(crate) fn links_of_the_default_bridge(case: &mut Case) -> Result<()> {
    start(case, "db", &["-e", "TOKEN=t1", "--expose", "5432"])?;
    start(case, "c1", &["--link", "db:my-db"])?;
    sh(case, "c1", "ping -c1 -W5 my-db && ping -c1 -W5 db")?;
    let ip = inspect(
        case,
        "db",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
    )?;
    let env = case.ok(&[
        "run", "--rm", "--name", "c2", "--link", "db:my-db", "busybox", "env",
    ])?;
    for wanted in [
        "MY_DB_NAME=/c2/my-db".to_owned(),
        format!("MY_DB_PORT=tcp://{ip}:5432"),
        format!("MY_DB_PORT_5432_TCP_ADDR={ip}"),
        "MY_DB_ENV_TOKEN=t1".to_owned(),
    ] {
        ensure!(env.lines().any(|line| line == wanted), "{wanted}: {env}");
    }
    case.prints(
        &["inspect", "-f", "{{json .HostConfig.Links}}", "c1"],
        "[\"/db:/c1/my-db\"]",
    )?;
    names_by_links(case)?;
    // A link goes to the container, whatever either is called.
    for (old, new) in [("db", "shop"), ("shop", "store"), ("c1", "web")] {
        case.ok(&["rename", old, new])?;
    }
    super::containers::until(|| {
        let links = ["inspect", "-f", "{{json .HostConfig.Links}}", "web"];
        Ok(case.ok(&links)? == "[\"/store:/web/my-db\"]")
    })?;
    case.ok(&["restart", "-t", "0", "web"])?;
    case.ok(&["rename", "store", "db"])?;
    case.fails(
        &["run", "--link", "nope", "busybox", "true"],
        125,
        "could not get container for nope",
    )?;
    case.ok(&["stop", "-t", "0", "db"])?;
    case.fails(
        &["run", "--link", "db", "busybox", "true"],
        125,
        "Cannot link to a non running container: /db AS",
    )
}

/// What a link calls a container is a name of it.
fn names_by_links(case: &Case) -> Result<()> {
    let names = || -> Result<serde_json::Value> {
        let rows = case.expect(
            "GET",
            "/containers/json?filters={\"name\":[\"^/db$\"]}",
            None,
            200,
        )?;
        Ok(rows[0]["Names"].clone())
    };
    ensure!(names()? == json!(["/c1/my-db", "/db"]), "{}", names()?);
    for name in ["c1/my-db", "/c1/my-db"] {
        case.prints(&["inspect", "-f", "{{.Name}}", name], "/db")?;
    }
    start(case, "c3", &["--link", "db:other"])?;
    case.fails(
        &["rm", "--link", "c3"],
        1,
        "Conflict, cannot remove the default link name of the container",
    )?;
    case.ok(&["rm", "--link", "c3/other"])?;
    ensure!(names()? == json!(["/c1/my-db", "/db"]), "{}", names()?);
    case.prints(&["inspect", "-f", "{{.HostConfig.Links}}", "c3"], "[]")?;
    case.ok(&["rm", "-f", "c3"]).map(drop)
}

pub(crate) fn disconnect_by_force_and_names_of_the_host(case: &mut Case) -> Result<()> {
    case.ok(&["network", "create", "one"])?;
    case.fails(
        &["network", "disconnect", "one", "gone"],
        1,
        "No such container: gone",
    )?;
    case.fails(
        &["network", "disconnect", "-f", "one", "gone"],
        1,
        "endpoint gone not found",
    )?;
    case.fails(
        &["network", "disconnect", "-f", "none-such", "gone"],
        1,
        "network none-such not found",
    )?;
    if case.engine.kind.is_dockerd() {
        return Ok(());
    }
    for network in ["bridge", "one"] {
        let found = case.ok(&[
            "run",
            "--rm",
            "--network",
            network,
            "busybox",
            "ping",
            "-c1",
            "-W5",
            "host.docker.internal",
        ])?;
        ensure!(found.contains("172.17.0.1"), "{network}: {found}");
    }
    // The user's word stands.
    let hosts = case.ok(&[
        "run",
        "--rm",
        "--add-host",
        "host.docker.internal:192.0.2.9",
        "busybox",
        "cat",
        "/etc/hosts",
    ])?;
    let lines: Vec<_> = hosts
        .lines()
        .filter(|line| line.contains("host.docker.internal"))
        .collect();
    ensure!(lines == ["192.0.2.9\thost.docker.internal"], "{hosts}");
    Ok(())
}
