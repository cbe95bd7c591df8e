//! Five services together, all of Debian's packages, under the stock Compose plugin.

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;

use anyhow::{Result, ensure};

use super::buildx::Files;
use super::built_programs::import;
use super::containers::until;
use crate::Case;

/// Five services and what they need: a proxy, a program behind it, workers, a database and a queue.
const SERVICES: &[(&str, &str)] = &[
    (
        "compose.yaml",
        r#"name: shop
x-program: &program
  image: shop
  build: .
  environment: {QUEUE: redis, DATABASE: db}
  secrets: [password]
  networks: [back]
  init: true
services:
  web:
    image: shop
    command: nginx -c /etc/shop.conf
    configs: [{source: proxy, target: /etc/shop.conf}]
    ports: ["127.0.0.1:8080:80"]
    networks: [front]
    depends_on: {api: {condition: service_healthy}}
    healthcheck: {test: python3 /shop/health.py 80, interval: 300ms, retries: 100}
  api:
    <<: *program
    command: python3 -u /shop/api.py
    networks: {front: {aliases: [shop-api]}, back: {}}
    depends_on:
      migrate: {condition: service_completed_successfully}
      redis: {condition: service_healthy}
    healthcheck: {test: python3 /shop/health.py 8000, interval: 300ms, retries: 100}
    develop: {watch: [{action: sync, path: ./shop, target: /shop}]}
  worker:
    <<: *program
    command: python3 -u /shop/worker.py
    restart: always
    depends_on:
      migrate: {condition: service_completed_successfully}
      redis: {condition: service_healthy}
    deploy: {replicas: 2}
  migrate:
    <<: *program
    command: python3 -u /shop/migrate.py
    restart: on-failure
    depends_on: {db: {condition: service_healthy}}
  db:
    image: shop
    user: postgres
    command: sh /shop/database.sh
    secrets: [password]
    volumes: ["data:/var/lib/postgresql"]
    networks: [back]
    stop_signal: SIGINT
    healthcheck: {test: pg_isready -h 127.0.0.1 -U shop, interval: 300ms, retries: 200}
  redis:
    image: shop
    user: redis
    command: ["redis-server", "--save", "", "--protected-mode", "no"]
    networks: [back]
    healthcheck: {test: redis-cli ping, interval: 300ms, retries: 100}
  browser:
    image: debian-browser
    profiles: [tools]
    networks: [front]
    user: nobody
    shm_size: 256m
    environment: {HOME: /tmp}
    # Its own sandbox wants user namespaces, which the default seccomp profile keeps back.
    entrypoint: [chromium-headless-shell, --no-sandbox, --disable-gpu, --virtual-time-budget=10000000, --dump-dom]
  admin:
    <<: *program
    profiles: [tools]
    command: sh -c "PGPASSWORD=$$(cat /run/secrets/password) psql -h db -U shop -d postgres -Atc 'select count(*) from jobs'"
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
secrets: {password: {file: ./password}}
configs:
  proxy:
    content: |
      daemon off;
      error_log /dev/stderr;
      events {}
      http {
        access_log /dev/stdout;
        server { listen 80; location / { proxy_pass http://shop-api:8000; } }
      }
"#,
    ),
    (
        "Dockerfile",
        "FROM debian-services\nENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nCOPY shop /shop\n",
    ),
    ("password", "not-for-everybody\n"),
    (".dockerignore", "password\n"),
    ("shop/greeting", "welcome\n"),
    (
        "shop/database.sh",
        r#"set -e
data=/var/lib/postgresql/shop
if [ ! -s $data/PG_VERSION ]; then
    initdb -D $data -U shop --auth=scram-sha-256 --pwfile=/run/secrets/password > /dev/null
    echo 'host all all all scram-sha-256' >> $data/pg_hba.conf
fi
exec postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp
"#,
    ),
    (
        "shop/shop.py",
        r#"import os
import psycopg2, redis
queue = redis.Redis(os.environ["QUEUE"])
def database():
    password = open("/run/secrets/password").read().strip()
    connection = psycopg2.connect(host=os.environ["DATABASE"], user="shop", password=password, dbname="postgres")
    connection.autocommit = True
    return connection.cursor()
"#,
    ),
    (
        "shop/health.py",
        "import sys, urllib.request\nurllib.request.urlopen(f'http://127.0.0.1:{sys.argv[1]}/health', timeout=5)\n",
    ),
    (
        "shop/migrate.py",
        "from shop import database\ndatabase().execute('create table if not exists jobs (name text)')\nprint('migrated')\n",
    ),
    (
        "shop/worker.py",
        // It ends when the queue or the database goes, and is started again; what it was at is still in its own list then.
        r#"import socket
from shop import database, queue
own = "doing-" + socket.gethostname()
print("ready", own)
while name := queue.lindex(own, 0) or queue.blmove("jobs", own, 0):
    database().execute("insert into jobs values (%s)", (name.decode(),))
    queue.lpop(own)
    print("did", name.decode())
"#,
    ),
    (
        "shop/shop.html",
        // The script does what a person would: it orders by the button, one thing after the other, and looks until all is done.
        r##"<!doctype html>
<title>Shop</title>
<button onclick="order()">Order</button>
<p id="state">nothing yet</p>
<ol id="orders"></ol>
<script>
let count = 0
async function order() {
  const answer = await fetch("/browser-" + ++count, {method: "POST"})
  const item = document.createElement("li")
  item.textContent = (await answer.text()).trim()
  document.querySelector("#orders").append(item)
}
async function visit() {
  const asked = new URLSearchParams(location.search)
  const wanted = Number(asked.get("orders"))
  for (let i = 0; i < wanted; i++) document.querySelector("button").click()
  const state = document.querySelector("#state")
  do {
    await new Promise(done => setTimeout(done, 100))
    state.textContent = (await (await fetch("/")).text()).trim()
  } while (document.querySelectorAll("li").length < wanted || !state.textContent.endsWith(`: ${asked.get("done")} done, 0 to do`))
  document.title = "Shop: " + wanted + " ordered"
}
visit()
</script>
"##,
    ),
    (
        "shop/api.py",
        r#"import http.server
from shop import database, queue
class Api(http.server.BaseHTTPRequestHandler):
    def say(self, text, kind="text/plain"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())
    def do_GET(self):
        if self.path == "/health":
            return self.say("ok")
        if self.path.startswith("/shop.html"):
            return self.say(open("/shop/shop.html").read(), "text/html")
        cursor = database()
        cursor.execute("select count(*) from jobs")
        greeting = open("/shop/greeting").read().strip()
        self.say(f"{greeting}: {cursor.fetchone()[0]} done, {queue.llen('jobs')} to do\n")
    def do_POST(self):
        queue.rpush("jobs", self.path)
        self.say("taken\n")
print("api listens")
http.server.ThreadingHTTPServer(("", 8000), Api).serve_forever()
"#,
    ),
];

/// What is asked of the application while it runs.
struct Shop<'a> {
    case: &'a Case,
    files: &'a Files,
}

impl Shop<'_> {
    fn compose(&self, args: &[&str]) -> Result<String> {
        let args = [&["compose"], args].concat();
        let run = self.files.run(self.case, &args)?;
        ensure!(run.code == 0, "{args:?}: {}", run.stderr);
        Ok(run.stdout)
    }

    fn page(&self) -> Result<String> {
        let world = &self.case.engine.world;
        world.sh("curl -sf --max-time 20 http://127.0.0.1:8080/")
    }

    /// Orders, until all of them are done.
    fn order(&self, before: u32, count: u32) -> Result<()> {
        let world = &self.case.engine.world;
        for number in 0..count {
            let address = format!("http://127.0.0.1:8080/{number}");
            world.sh(&format!("curl -sf --max-time 20 -X POST {address}"))?;
        }
        let wanted = format!("{} done, 0 to do\n", before + count);
        until(|| Ok(self.page()?.ends_with(&wanted)))
    }

    /// Brings everything up, and waits until it is healthy.
    fn healthy(&self, args: &[&str]) -> Result<()> {
        let up = &["up", "-d", "--no-build", "--wait", "--wait-timeout", "120"];
        self.compose(&[up, args].concat()).map(drop)
    }

    fn states(&self, service: &str) -> Result<Vec<String>> {
        let said = self.compose(&["ps", "-a", "--format", "{{.State}}", service])?;
        Ok(said.lines().map(str::to_owned).collect())
    }
}

/// A command of Compose's that goes on until it is dropped.
struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    fn start(shop: &Shop<'_>, args: &[&str]) -> Result<Self> {
        let log = PathBuf::from(shop.files.path(&format!("{}.log", args[0])));
        let out = File::create(&log)?;
        let mut command = shop
            .files
            .command(shop.case, &[&["compose"], args].concat());
        command.stdout(out.try_clone()?).stderr(out);
        Ok(Self {
            child: command.spawn()?,
            log,
        })
    }

    fn said(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx, a program of Python, workers, PostgreSQL and Redis, as Debian has them.
pub(crate) fn five_services_of_debian(case: &mut Case) -> Result<()> {
    import(case, "services")?;
    import(case, "browser")?;
    let files = Files::new(SERVICES)?;
    let shop = Shop {
        case,
        files: &files,
    };
    shop.compose(&["build", "-q", "api"])?;
    let events = Background::start(&shop, &["events", "--json"])?;
    shop.healthy(&[])?;
    ensure!(
        shop.page()? == "welcome: 0 done, 0 to do\n",
        "{}",
        shop.page()?
    );
    shop.order(0, 10)?;
    it_is_looked_at(&shop)?;
    let done = services_go_and_come(&shop, 10)?;
    let done = a_browser_orders(&shop, done)?;
    workers_stop_and_multiply(&shop, done)?;
    files_are_followed(&shop)?;
    one_is_waited_for(&shop)?;
    let said = events.said()?;
    ensure!(
        said.contains("\"health_status: healthy\"") && said.contains("\"die\""),
        "{said}"
    );
    shop.compose(&["down", "-v", "-t", "5"])?;
    case.prints(&["ps", "-aq"], "")?;
    case.prints(&["volume", "ls", "-q"], "")?;
    let networks = case.ok(&["network", "ls", "--format", "{{.Name}}"])?;
    ensure!(networks.lines().count() == 3, "{networks}");
    Ok(())
}

/// What is restarted has perhaps another address, and the others find it. The answer is how many jobs are done.
fn services_go_and_come(shop: &Shop<'_>, done: u32) -> Result<u32> {
    let mut done = done;
    for restart in [
        &["restart", "redis"][..],
        &["restart", "-t", "20", "db"],
        &["restart"],
    ] {
        shop.compose(restart)?;
        shop.healthy(&[])?;
        shop.order(done, 1)?;
        done += 1;
    }
    shop.compose(&["stop"])?;
    ensure!(
        shop.states("web")? == ["exited"],
        "{:?}",
        shop.states("web")?
    );
    shop.compose(&["start"])?;
    shop.healthy(&[])?;
    shop.order(done, 1)?;
    Ok(done + 1)
}

/// Chromium, in a container beside the proxy, runs the page: it orders by the button and waits for the workers.
fn a_browser_orders(shop: &Shop<'_>, done: u32) -> Result<u32> {
    let address = format!("http://web/shop.html?orders=5&done={}", done + 5);
    let page = shop.compose(&["run", "--rm", "-T", "browser", &address])?;
    ensure!(
        page.contains("<title>Shop: 5 ordered</title>")
            && page.contains(&format!("welcome: {} done, 0 to do</p>", done + 5))
            && page.matches("<li>taken</li>").count() == 5,
        "{page}"
    );
    Ok(done + 5)
}

/// Who is paused does nothing, until it goes on; and more of them do as well.
fn workers_stop_and_multiply(shop: &Shop<'_>, done: u32) -> Result<()> {
    shop.compose(&["pause", "worker"])?;
    ensure!(
        shop.states("worker")? == ["paused", "paused"],
        "{:?}",
        shop.states("worker")?
    );
    let order = "curl -sf --max-time 20 -X POST http://127.0.0.1:8080/paused";
    shop.case.engine.world.sh(order)?;
    // A paused worker that waits at the queue may have been given it already.
    let page = shop.page()?;
    ensure!(page.contains(&format!(": {done} done, ")), "{page}");
    shop.compose(&["unpause", "worker"])?;
    let wanted = format!(": {} done, 0 to do\n", done + 1);
    until(|| Ok(shop.page()?.ends_with(&wanted)))?;
    for count in ["4", "1"] {
        shop.healthy(&["--scale", &format!("worker={count}")])?;
        let ids = shop.compose(&["ps", "-q", "worker"])?;
        ensure!(ids.lines().count().to_string() == count, "{ids}");
    }
    shop.order(done + 1, 1)
}

/// `watch` copies what has changed into the container.
fn files_are_followed(shop: &Shop<'_>) -> Result<()> {
    let watch = Background::start(shop, &["watch", "--no-up"])?;
    until(|| Ok(watch.said()?.contains("Watch enabled")))?;
    std::fs::write(shop.files.path("shop/greeting"), "hello\n")?;
    until(|| Ok(shop.page()?.starts_with("hello: ")))
}

/// `wait` says how the service ended.
fn one_is_waited_for(shop: &Shop<'_>) -> Result<()> {
    until(|| {
        shop.compose(&["start", "api"])?;
        let mut wait = Background::start(shop, &["wait", "api"])?;
        shop.compose(&["kill", "-s", "KILL", "api"])?;
        wait.child.wait()?;
        // It may have looked too late, which nothing tells before: then once more.
        Ok(wait.said()?.contains("status code 137"))
    })
}

fn it_is_looked_at(shop: &Shop<'_>) -> Result<()> {
    let services = shop.compose(&["ps", "--services", "--status", "running"])?;
    let mut services: Vec<&str> = services.lines().collect();
    services.sort_unstable();
    services.dedup();
    ensure!(
        services == ["api", "db", "redis", "web", "worker"],
        "{services:?}"
    );
    ensure!(
        shop.states("migrate")? == ["exited"],
        "{:?}",
        shop.states("migrate")?
    );
    let logs = shop.compose(&["logs", "--no-color", "worker"])?;
    ensure!(
        logs.contains("worker-1") && logs.contains("worker-2") && logs.contains("did /9"),
        "{logs}"
    );
    let tail = shop.compose(&["logs", "--no-log-prefix", "-n", "1", "migrate"])?;
    ensure!(
        tail.lines().count() == 1 && tail.contains("migrated"),
        "{tail:?}"
    );
    let top = shop.compose(&["top", "db"])?;
    ensure!(top.contains("postgres: checkpointer"), "{top}");
    let stats = shop.compose(&[
        "stats",
        "--no-stream",
        "--format",
        "{{.Name}} {{.MemUsage}}",
    ])?;
    ensure!(
        stats.contains("shop-redis-1") && stats.contains("MiB"),
        "{stats}"
    );
    ensure!(
        shop.compose(&["port", "web", "80"])? == "127.0.0.1:8080",
        "port"
    );
    let count = shop.compose(&["run", "--rm", "-T", "admin"])?;
    ensure!(count == "10", "{count}");
    // Networks are apart: the proxy does not see the database, and behind is no way out.
    let hidden = shop.compose(&["exec", "-T", "web", "getent", "hosts", "db"]);
    ensure!(hidden.is_err(), "{hidden:?}");
    let route = shop.compose(&["exec", "-T", "redis", "cat", "/proc/net/route"])?;
    let destinations = route
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    ensure!(
        !destinations.into_iter().any(|to| to == "00000000"),
        "{route}"
    );
    let pong = shop.compose(&[
        "exec",
        "-T",
        "api",
        "python3",
        "-c",
        "import shop; print(shop.queue.ping())",
    ]);
    ensure!(pong.is_err(), "the module is found anywhere");
    let args = [
        "exec",
        "-T",
        "-w",
        "/shop",
        "api",
        "python3",
        "-c",
        "import shop; print(shop.queue.ping())",
    ];
    let pong = shop.compose(&args)?;
    ensure!(pong == "True", "{pong}");
    let images = shop.compose(&["images", "--format", "json"])?;
    ensure!(images.matches("\"shop\"").count() >= 6, "{images}");
    Ok(())
}
