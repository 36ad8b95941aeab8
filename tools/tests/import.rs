//! `rmq-store` on a store that a real Apache broker made (`apache-store/README.md` says how): import, verify, export.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests prepare files by hand")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use flate2::read::GzDecoder;
use ringmq_remoting::json;
use ringmq_remoting::record::sys_flag;
use ringmq_tools::store::{Cli, run};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apache-store/5.5.0");
const SEGMENT: &str = "8388608";

struct Scene {
    /// Holds the folders.
    root: tempfile::TempDir,
}

impl Scene {
    /// Unpacks the fixture.
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a scratch folder");
        unpack(Path::new(FIXTURE), &root.path().join("apache"));
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn import(&self) -> Result<u8, String> {
        let (from, to) = (self.path("apache"), self.path("new"));
        rmq_store(&[
            "import",
            "--from",
            text(&from),
            "--to",
            text(&to),
            "--shards",
            "3",
            "--segment-bytes",
            SEGMENT,
        ])
    }

    /// Exports a topic: (queue, offset) → its JSON text.
    fn export(&self, topic: &str) -> BTreeMap<(i64, i64), String> {
        let (store, out) = (self.path("new"), self.path(&format!("{topic}.json")));
        rmq_store(&["export", text(&store), "--topic", topic, "--out", text(&out)]).expect("exported");
        let lines = fs::read_to_string(out).expect("an export");
        lines
            .lines()
            .map(|line| ((long(line, "queueId"), long(line, "queueOffset")), line.to_owned()))
            .collect()
    }
}

fn unpack(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the fixture") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            unpack(&path, &to.join(path.file_name().expect("a name")));
        } else if path.extension().is_some_and(|extension| extension == "gz") {
            let mut content = Vec::new();
            GzDecoder::new(fs::File::open(&path).expect("opens")).read_to_end(&mut content).expect("gzip");
            fs::write(to.join(path.file_stem().expect("a name")), content).expect("written");
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Runs a command line; its status, or its error with causes.
fn rmq_store(arguments: &[&str]) -> Result<u8, String> {
    let cli = Cli::try_parse_from([&["rmq-store"], arguments].concat()).expect("a command line");
    run(cli).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })
}

fn long(line: &str, member: &str) -> i64 {
    let value = json::parse(line.as_bytes()).expect("JSON");
    value.get(member).and_then(json::Value::as_long).unwrap_or_else(|| panic!("{member} in {line}"))
}

fn string(line: &str, path: &[&str]) -> String {
    let value = json::parse(line.as_bytes()).expect("JSON");
    let found = path.iter().try_fold(&value, |value, name| value.get(name));
    found.and_then(json::Value::as_text).map_or_else(|| "null".to_owned(), |text| text.into_owned())
}

#[test]
fn a_store_of_apache_comes_over_whole() {
    let scene = Scene::new();
    assert_eq!(scene.import(), Ok(0));
    let store = scene.path("new");
    assert_eq!(rmq_store(&["verify", text(&store)]), Ok(0));
    for command in ["show", "queues", "records"] {
        assert_eq!(rmq_store(&[command, text(&store)]), Ok(0));
    }
    for name in ["topics.json", "subscriptionGroup.json", "consumerOffset.json"] {
        let taken = fs::read(store.join("config").join(name)).expect("taken along");
        assert_eq!(taken, fs::read(scene.path("apache/config").join(name)).expect("there"), "{name}");
    }

    // What a Java client pulled from Apache, before the two oldest files of the log were removed.
    let expected = fs::read_to_string(Path::new(FIXTURE).join("expected.tsv")).expect("the fixture");
    let mut exports = BTreeMap::new();
    let (mut compared, mut gone) = (0, 0);
    for row in expected.lines().filter_map(|row| row.strip_prefix("message\t")) {
        let fields: Vec<_> = row.split('\t').collect();
        let exported = exports.entry(fields[0].to_owned()).or_insert_with(|| scene.export(fields[0]));
        let key = (fields[1].parse().expect("a queue"), fields[2].parse().expect("an offset"));
        let Some(line) = exported.remove(&key) else {
            let later = exported.keys().any(|(queue, offset)| *queue == key.0 && *offset > key.1);
            assert!(fields[0] == "orders" && later, "lost: {row}");
            gone += 1;
            continue;
        };
        let numbers = ["storeTimestamp", "bornTimestamp", "sysFlag", "flag", "reconsumeTimes"];
        // The client unpacks compressed bodies and clears their flag; the export has them as stored.
        let compressed = long(&line, "sysFlag") & i64::from(sys_flag::COMPRESSED);
        let shown = |member| long(&line, member) - if member == "sysFlag" { compressed } else { 0 };
        let found = numbers.map(|member| shown(member).to_string());
        assert_eq!(found, [fields[3], fields[4], fields[6], fields[7], fields[8]], "{row}");
        assert_eq!(format!("/{}", string(&line, &["bornHost"])), fields[5]);
        let properties = ["TAGS", "KEYS", "UNIQ_KEY", "n"].map(|name| string(&line, &["properties", name]));
        assert_eq!(properties, fields[9..13], "{row}");
        if compressed == 0 {
            let body = STANDARD.decode(string(&line, &["body"])).expect("base64");
            let sum = (body.len().to_string(), crc32fast::hash(&body).to_string());
            assert_eq!(sum, (fields[13].to_owned(), fields[14].to_owned()), "{row}");
        }
        compared += 1;
    }
    assert!(compared > 190 && gone > 50, "{compared} compared, {gone} gone with the oldest files");
    for (topic, left) in exports {
        assert!(left.is_empty(), "{topic} has messages that nobody could read: {left:?}");
    }
    // Each shard parks its own, numbered by itself: lines count, not offsets.
    scene.export("SCHEDULE_TOPIC_XXXX");
    let parked = fs::read_to_string(scene.path("SCHEDULE_TOPIC_XXXX.json")).expect("exported");
    assert_eq!(parked.lines().count(), 4, "messages that wait for their time");
    assert_eq!(scene.export("gone").len(), 0, "a topic that was deleted");
}

#[test]
fn an_import_needs_a_new_place_and_can_be_done_again() {
    let scene = Scene::new();
    let (half, other) = (scene.path("new.importing"), scene.path("new"));
    fs::create_dir_all(half.join("shard-00/log")).expect("a folder");
    assert!(scene.import().expect_err("not ours").contains("no import made it"));
    fs::write(half.join("import-is-running"), "").expect("written");
    fs::create_dir(&other).expect("an empty folder will do");
    assert_eq!(scene.import(), Ok(0), "what an interrupted import left is removed");
    assert!(!half.exists());
    assert!(scene.import().expect_err("refused").contains("is not empty"));
    fs::write(scene.path("apache/abort"), "").expect("written");
    fs::remove_dir_all(&other).expect("removed");
    assert!(scene.import().expect_err("refused").contains("--after-crash"));
}

#[test]
fn damage_on_either_side_is_named() {
    let scene = Scene::new();
    let files = scene.path("apache/commitlog");
    let second = files.join("00000000000000098304");
    let mut bytes = fs::read(&second).expect("the fixture");
    bytes[200] ^= 1;
    fs::write(&second, &bytes).expect("written");
    let error = scene.import().expect_err("damaged");
    assert!(error.contains("00000000000000098304 is damaged at byte"), "{error}");
    assert!(!scene.path("new").exists() && !scene.path("new.importing").exists());
    bytes[200] ^= 1;
    fs::write(&second, &bytes).expect("written");
    fs::remove_file(&second).expect("removed");
    assert!(scene.import().expect_err("a hole").contains("missing or cut"));
    fs::write(&second, &bytes).expect("written");
    assert_eq!(scene.import(), Ok(0));

    let log = scene.path("new").join("shard-01/log").join(format!("{SEGMENT:0>20}"));
    let mut bytes = fs::read(&log).expect("a segment");
    bytes[300] ^= 1;
    fs::write(&log, bytes).expect("written");
    assert_eq!(rmq_store(&["verify", text(&scene.path("new"))]), Ok(2));
    assert!(rmq_store(&["queues", text(&scene.path("new"))]).expect_err("corrupt").contains("log offset"));
    assert_eq!(rmq_store(&["records", text(&scene.path("new"))]), Ok(0), "the rest can be read");
}

/// What the program prints.
fn printed(arguments: &[&str]) -> Vec<String> {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rmq-store")).args(arguments).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

/// Metadata as a broker leaves it: one topic, and a group that has consumed three messages of queue 2, and of a queue that is not there.
fn write_metadata(dir: &Path) {
    use bytes::BytesMut;
    use ringmq_broker::metadata::Change;
    use ringmq_broker::metadata::change::FORMAT;
    use ringmq_broker::metadata::frame::{Kind, encode};
    use ringmq_remoting::body::TopicConfig;

    let config =
        TopicConfig { topic_name: "orders".into(), perm: 4, write_queue_nums: 4, ..Default::default() };
    let mut payload = Vec::new();
    Change::Topic { name: "orders".into(), config: Some(config.into()) }.encode(&mut payload);
    let mut snapshot = BytesMut::new();
    encode(&mut snapshot, Kind::SnapshotBegin, 1, 1, &FORMAT.to_le_bytes());
    encode(&mut snapshot, Kind::Part, 1, 0, &payload);
    encode(&mut snapshot, Kind::SnapshotEnd, 1, 1, &[]);
    payload.clear();
    let queues = vec![(2, 3), (9, 5)];
    Change::Offsets { topic: "orders".into(), group: "g".into(), queues }.encode(&mut payload);
    let mut log = BytesMut::new();
    encode(&mut log, Kind::LogBegin, 1, 1, &FORMAT.to_le_bytes());
    encode(&mut log, Kind::Changes, 1, 2, &payload);
    encode(&mut log, Kind::Mark, 1, 3, &[]);
    fs::create_dir_all(dir).expect("a folder");
    fs::write(dir.join("00000000000000000001.snapshot"), snapshot).expect("written");
    fs::write(dir.join("00000000000000000001.log"), log).expect("written");
}

#[test]
fn topics_and_offsets_are_shown_and_the_metadata_is_verified() {
    let scene = Scene::new();
    assert_eq!(scene.import(), Ok(0));
    let store = scene.path("new");
    let error = rmq_store(&["topics", text(&store)]).expect_err("no broker has started");
    assert!(error.contains("first start takes over"), "{error}");
    let metadata = store.join("metadata");
    write_metadata(&metadata);

    let topics = printed(&["topics", text(&store)]);
    assert_eq!(topics.len(), 2);
    assert_eq!(
        topics[1].split_whitespace().collect::<Vec<_>>(),
        ["orders", "16", "4", "R--", "false", "0", "-"]
    );
    let [json] = &printed(&["topics", text(&store), "--format", "json"])[..] else { panic!("one topic") };
    assert_eq!((string(json, &["topicName"]), long(json, "perm")), ("orders".to_owned(), 4));
    assert_eq!(printed(&["topics", text(&store), "--topic", "other", "--format", "json"]), [""; 0]);

    let newest = scene.export("orders").keys().filter(|(queue, _)| *queue == 2).map(|(_, at)| *at).max();
    let max = newest.expect("messages") + 1;
    let offsets = printed(&["offsets", text(&store), "--format", "json"]);
    let shown = |line: &String| ["queueId", "offset", "maxOffset", "lag"].map(|member| long(line, member));
    assert_eq!(offsets.len(), 2);
    assert_eq!(shown(&offsets[0]), [2, 3, max, max - 3]);
    assert!(!offsets[1].contains("lag"), "{}", offsets[1]);
    let offsets = printed(&["offsets", text(&store), "--group", "g", "--topic", "orders"]);
    assert_eq!(offsets.len(), 3, "with its head: {offsets:?}");
    let shard = store.join("shard-00");
    assert!(rmq_store(&["offsets", text(&shard)]).expect_err("no").contains("one shard's folder"));

    assert_eq!(rmq_store(&["verify", text(&store)]), Ok(0));
    let log = metadata.join("00000000000000000001.log");
    let whole = fs::read(&log).expect("a log");
    for (cut, flip, status) in [(0, 60, 2), (7, 0, 1)] {
        let mut bytes = whole[..whole.len() - cut].to_vec();
        bytes[flip] ^= u8::from(flip > 0);
        fs::write(&log, bytes).expect("written");
        assert_eq!(rmq_store(&["verify", text(&store)]), Ok(status), "cut {cut}, byte {flip}");
    }
    fs::write(&log, whole).expect("written");
    let lock = fs::File::create(store.join("lock")).expect("made");
    lock.lock().expect("locked");
    assert!(rmq_store(&["topics", text(&store)]).expect_err("in use").contains("open in a broker"));
}
