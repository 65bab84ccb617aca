//! Users come back: the commands of docs/backup.md and docs/upgrading.md, as they stand there.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use transcription_lab::kubernetes::Node;
use transcription_tests::auth::credentials;
use transcription_tests::client::{Answer, PASSWORD, http, post};
use transcription_tests::files::cached;
use transcription_tests::python::{old_database, python};
use transcription_tests::stack::SIGNING_KEY;
use transcription_tests::transcription::token;

use crate::images;
use crate::stack::{Namespace, file};

/// One story: the old backend's users move into a stack, and from there into a release of the charts.
#[tokio::test]
async fn users_come_back_from_the_old_backends_file_and_from_a_backup() {
    let node = Node::start().await;
    images::bring(&node).await;
    let space = Namespace::make(&node, "restored").await;
    let work = Work::new(&space);

    work.made_with_the_old_key().await;
    work.refused_while_it_serves().await;
    work.stopped_broken_and_restored().await;
    work.old_users_are_there().await;
    work.upgraded_to_the_same().await;
    work.moved_to_the_charts().await;
}

/// A folder to work in, as somebody has it who reads the pages, with what they find in the project.
struct Work<'a> {
    space: &'a Namespace<'a>,
    folder: TempDir,
    page: Page,
}

/// The blocks of commands of docs/backup.md, but for those without Kubernetes.
struct Page {
    backup: String,
    stop: String,
    restore: String,
    go_on: String,
    stop_charts: String,
    apply_charts: String,
    start_charts: String,
    key: String,
}

impl<'a> Work<'a> {
    fn new(space: &'a Namespace<'a>) -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["k8s", "charts"] {
            let target = file(name).canonicalize().unwrap();
            std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        }
        let programs = folder.path().join("bin");
        fs::create_dir(&programs).unwrap();
        let helm = cached("helm-4.3.0-3.22.0/helm4");
        std::os::unix::fs::symlink(helm, programs.join("helm")).unwrap();
        Self {
            space,
            folder,
            page: Page::read(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn run(&self, script: &str) -> String {
        let folder = self.folder.path().display();
        let script = format!("cd {folder}\nPATH=$PWD/bin:$PATH\n{script}");
        let began = Instant::now();
        let printed = self.space.shell(&script).await;
        println!("{printed}({:.1} s)", began.elapsed().as_secs_f64());
        printed
    }

    /// A stack whose signing key was brought along. It has a user before the old ones come.
    async fn made_with_the_old_key(&self) {
        fs::write(self.path("jwt.key"), SIGNING_KEY).unwrap();
        old_database(&self.path("auth.db")).await;
        let readme = fs::read_to_string(file("README.md")).unwrap();
        let commands = all_blocks(&readme, "\n## Kubernetes in four commands\n");
        self.run(&self.page.key).await;
        self.run(&commands[0]).await;
        let add = format!(
            "echo '{PASSWORD}' | kubectl exec -i demo-auth-0 -- auth-service user add eve eve@example.com"
        );
        self.run(&add).await;
        self.space.log_in("demo", "eve", PASSWORD).await;
    }

    /// A restore beside a server changes nothing, whichever way somebody tries.
    async fn refused_while_it_serves(&self) {
        let restore = "kubectl exec -i demo-auth-0 -- auth-service restore - <auth.db 2>&1 || :";
        let in_its_pod = self.run(restore).await;
        self.run("kubectl apply -f k8s/samples/restore.yaml").await;
        let in_another = self.failed().await;

        for said in [in_its_pod, in_another] {
            assert!(said.contains("is served by another process"), "{said}");
        }
        self.space.log_in("demo", "eve", PASSWORD).await;
    }

    async fn stopped_broken_and_restored(&self) {
        let Page {
            stop,
            restore,
            go_on,
            ..
        } = &self.page;
        let began = Instant::now();
        self.run(stop).await;

        // Half of a file changes nothing, and is no trouble for the next try.
        let whole = fs::read(self.path("auth.db")).unwrap();
        fs::write(self.path("half.db"), &whole[..whole.len() / 2]).unwrap();
        let (until_the_end, _) = restore.split_once("kubectl wait --for=jsonpath").unwrap();
        let attempt = until_the_end.replace("<auth.db", "<half.db 2>&1 || :");
        assert_ne!(attempt, until_the_end);
        self.run(&attempt).await;
        let said = self.failed().await;
        assert!(said.contains("standard input is not restored"), "{said}");
        assert_eq!(self.names("auth.db").await, "eve");
        assert_eq!(self.kept().await, [""; 0]);

        let said = self.run(restore).await;
        assert!(
            said.contains("Restored 4 users to /app/data/auth.db. The next new user gets an id above 4. The old database is kept as /app/data/auth.db.before-restore-"),
            "{said}"
        );
        // Back to the old database, by its name on the volume, and forth again.
        let kept = self.kept().await.remove(0);
        let back = format!(
            "sed 's|\"-\"|/app/data/{kept}|' k8s/samples/restore.yaml | kubectl apply -f -\n{}",
            restore.split_once("<auth.db\n").unwrap().1
        );
        self.run(&back).await;
        assert_eq!(self.names("auth.db").await, "eve");
        self.run(restore).await;
        // The operator has left the pod away all the time, and makes it again when it is asked to.
        let replicas = [
            "get",
            "statefulset",
            "demo-auth",
            "-o",
            "jsonpath={.spec.replicas}",
        ];
        assert_eq!(self.space.kubectl(&replicas, "").await, "0");
        self.run(go_on).await;
        println!(
            "stopped, refused half a file, restored, gone back and forth, Ready again: {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }

    /// Old users log in, their old tokens are taken, and who was there before is in the file that was kept.
    async fn old_users_are_there(&self) {
        for name in ["Ada", "ADA@example.com", "at@sign"] {
            self.space.log_in("demo", name, PASSWORD).await;
        }
        let answer = self.try_log_in("demo-auth", "eve").await;
        answer.assert_problem(401, "bad_credentials");
        let given_by_the_old_backend = token("4");
        let me = self.me("demo-auth", &given_by_the_old_backend).await;
        assert_eq!(me.json["username"], "at@sign", "{me:?}");
        self.transcription_takes(&given_by_the_old_backend).await;
        let kept = self.kept().await;
        assert_eq!(kept.len(), 3, "{kept:?}");
        for (database, user) in kept.iter().zip(["eve", "Ada", "eve"]) {
            let users = self.names(database).await;
            assert!(users.starts_with(user), "{database}: {users}");
        }
    }

    /// The commands of the other page: to the release that is there, nothing restarts.
    async fn upgraded_to_the_same(&self) {
        let page = fs::read_to_string(file("docs/upgrading.md")).unwrap();
        let [operator, stack] = blocks(&page, "\n## With the operator\n");
        let pods = [
            "get",
            "pods",
            "-o",
            "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount} {end}",
        ];
        let before = self.space.kubectl(&pods, "").await;

        self.run(&operator).await;
        let shown = self.run(&stack).await;

        assert!(shown.contains("AsWanted"), "{shown}");
        assert_eq!(self.space.kubectl(&pods, "").await, before);
    }

    /// What was backed up is restored elsewhere: by the charts, with the key that was backed up.
    async fn moved_to_the_charts(&self) {
        let Page {
            backup,
            restore,
            stop_charts,
            apply_charts,
            start_charts,
            ..
        } = &self.page;
        let add = format!(
            "echo '{PASSWORD}' | kubectl exec -i demo-auth-0 -- auth-service user add late late@example.com"
        );
        self.run(&add).await;
        let late = self.space.log_in("demo", "late", PASSWORD).await;
        for name in ["auth.db", "jwt.key"] {
            fs::remove_file(self.path(name)).unwrap();
        }

        self.run(backup).await;
        let key = fs::read_to_string(self.path("jwt.key")).unwrap();
        assert_eq!(key, SIGNING_KEY);
        for name in ["auth.db", "jwt.key"] {
            let mode = File::open(self.path(name))
                .unwrap()
                .metadata()
                .unwrap()
                .permissions();
            assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
        }

        self.run(
            "kubectl create secret generic kept --from-file=JWT_SECRET_KEY=jwt.key\n\
             helm install auth charts/auth --set jwt.existingSecret=kept --wait --timeout 2m",
        )
        .await;
        self.run(stop_charts).await;
        let (_, from_there) = restore.split_once("restore.yaml\n").unwrap();
        let said = self.run(&format!("{apply_charts}{from_there}")).await;
        assert!(said.contains("Restored 5 users"), "{said}");
        self.run(start_charts).await;

        let answer = self.try_log_in("auth", "late").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let me = self.me("auth", &late).await;
        assert_eq!(me.json["id"], 5, "{me:?}");
        // Nobody knows here which ids were given since.
        let add = format!(
            "echo '{PASSWORD}' | kubectl exec -i auth-0 -- auth-service user add new new@example.com"
        );
        let said = self.run(&add).await;
        assert!(said.contains("(id 1000006)"), "{said}");
        self.upgraded_and_back().await;
    }

    /// The chart's part of the other page.
    async fn upgraded_and_back(&self) {
        let page = fs::read_to_string(file("docs/upgrading.md")).unwrap();
        let [upgrade, back] = blocks(&page, "\n## With the charts\n");
        let of_auth = |line: &&str| line.starts_with("helm upgrade auth ");
        let upgrade = upgrade.lines().find(of_auth).unwrap();

        self.run(&format!("{upgrade}\n{back}")).await;

        let answer = self.try_log_in("auth", "late").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }

    /// What the pod says that failed. It is gone then.
    async fn failed(&self) -> String {
        self.run(
            "kubectl wait --for=jsonpath='{.status.phase}'=Failed --timeout=1m pod/restore\n\
             kubectl logs restore\n\
             kubectl delete pod restore",
        )
        .await
    }

    async fn try_log_in(&self, service: &str, name: &str) -> Answer {
        let url = self.space.url(service).await;
        post(
            &http(),
            &format!("{url}/login"),
            &credentials(name, PASSWORD),
        )
        .await
    }

    async fn me(&self, service: &str, token: &str) -> Answer {
        let url = self.space.url(service).await;
        let request = http().get(format!("{url}/me")).bearer_auth(token);
        Answer::of(request.send().await.unwrap()).await
    }

    /// Whose token is taken hears that there is no such transcription, and not that they have to log in.
    async fn transcription_takes(&self, token: &str) {
        let url = self.space.url("demo-transcription").await;
        let url = format!("{url}/transcriptions/01a20ede-7cb9-7722-b021-6b2b92f774f7");
        let answer = http().get(url).bearer_auth(token).send().await.unwrap();
        let answer = Answer::of(answer).await;
        answer.assert_problem(404, "transcription_not_found");
    }

    /// The folder of the stack's volume on this machine, which is the node.
    async fn volume(&self) -> PathBuf {
        let claim = [
            "get",
            "pvc",
            "demo-auth-data",
            "-o",
            "jsonpath={.spec.volumeName}",
        ];
        let name = self.space.kubectl(&claim, "").await;
        let volume = ["get", "pv", &name, "-o", "json"];
        let volume = self.space.kubectl(&volume, "").await;
        let volume = serde_json::from_str::<Value>(&volume).unwrap();
        volume["spec"]["local"]["path"].as_str().unwrap().into()
    }

    /// The databases that restores have kept on the volume. There is nothing else beside the database that is not its own.
    async fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.volume().await).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let own = ["", "-shm", "-wal", ".lock", ".use.lock"].map(|end| format!("auth.db{end}"));
        let mut others = names.filter(|name| !own.contains(name)).collect::<Vec<_>>();
        others.sort();
        for name in &others {
            assert!(name.starts_with("auth.db.before-restore-"), "{others:?}");
        }
        others
    }

    /// The users in a database on the volume, by name.
    async fn names(&self, database: &str) -> String {
        let script = "import sqlite3, sys; print(*[row[0] for row in sqlite3.connect(sys.argv[1]).execute('SELECT username FROM users ORDER BY id')])";
        let copy = self.path("looked-at.db");
        fs::copy(self.volume().await.join(database), &copy).unwrap();
        python(script, &[copy.to_str().unwrap()]).await
    }
}

impl Page {
    fn read() -> Self {
        let page = fs::read_to_string(file("docs/backup.md")).unwrap();
        let [backup] = blocks(&page, "\n## Backing up\n");
        let [stop, restore, go_on] = blocks(&page, "\n## Restoring, with the operator\n");
        let [stop_charts, apply_charts, start_charts] =
            blocks(&page, "\n## Restoring, with the charts\n");
        let [key] = blocks(&page, "\n## A new cluster\n");
        Self {
            backup,
            stop,
            restore,
            go_on,
            stop_charts,
            apply_charts,
            start_charts,
            key,
        }
    }
}

/// The blocks of commands below a heading of a page, which are so many.
fn blocks<const N: usize>(page: &str, heading: &str) -> [String; N] {
    all_blocks(page, heading).try_into().unwrap()
}

fn all_blocks(page: &str, heading: &str) -> Vec<String> {
    let (_, section) = page.split_once(heading).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}
