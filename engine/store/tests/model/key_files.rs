//! What only concerns the files of the key index: that they are made, become one, and are made again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq_store::{KeyKind, KeyQuery, StoreConfig, StoreStats};

use crate::list::{topic_name, unique};
use crate::script::Derived;
use crate::system::{DIR, System, config};

fn any_key(topic: u8, key: &str, messages_max: usize) -> KeyQuery {
    KeyQuery {
        topic: topic_name(topic),
        key: key.to_string(),
        kind: KeyKind::Any,
        messages_max,
        begin_ms: 0,
        end_ms: i64::MAX,
    }
}

/// A store with runs, a merged one among them.
fn filled() -> System {
    let mut system = System::new(1, config(true));
    for number in 0..400 {
        system.append(0, number as u8, 600, false);
        if number % 20 == 0 {
            system.settle();
            system.world.run_for(Duration::from_millis(2));
        }
    }
    system.settle();
    system.world.run_for(Duration::from_secs(1));
    system
}

fn stats(system: &mut System) -> StoreStats {
    let taken = Arc::new(Mutex::new(None));
    let into = Arc::clone(&taken);
    system.remote.call(move |store, _, _| *into.lock().expect("stats") = Some(store.stats()));
    system.settle();
    system.world.run_for(Duration::from_millis(1));
    taken.lock().expect("stats").take().expect("called")
}

#[test]
fn runs_of_a_finished_segment_become_one() {
    let mut system = filled();
    let segments = stats(&mut system).segments;
    let names: Vec<_> = system.derived_files(Derived::Keys).into_iter().map(|(path, _)| path).collect();
    assert!(segments >= 3, "{segments}");
    let first = format!("{DIR}/keys/{:020}-{:020}", 0, 128 << 10);
    assert_eq!(names.first(), Some(&first), "{names:?}");
    let figures = stats(&mut system);
    assert_eq!(figures.key_gap_bytes, 0);
    assert!(figures.key_filter_bytes > 0 && figures.key_filter_bytes <= 2 << 10, "{figures:?}");
    system.check_keys();
    assert!(stats(&mut system).key_pages_read > 0, "old keys are on disk");
}

#[test]
fn an_orderly_end_leaves_nothing_to_read_again() {
    let mut system = filled();
    system.restart();
    assert_eq!(stats(&mut system).key_gap_bytes, 0);
    system.check_keys();
}

#[test]
fn a_store_that_had_no_key_files_gets_them() {
    let off = StoreConfig { key_index: false, ..config(true) };
    let mut system = System::new(2, off);
    for number in 0..=255 {
        system.append(2, number, 600, false);
    }
    system.settle();
    assert_eq!(system.ask_key(&any_key(1, "all", 64)).expect("no index, no answer"), []);
    assert!(system.derived_files(Derived::Keys).is_empty());
    system.config.key_index = true;
    system.restart();
    system.check_keys();
}

#[test]
fn every_flipped_bit_of_a_key_file_is_noticed_or_harmless() {
    // One byte in four hundred of every file, each with another bit, in a fresh process each: what is read into memory at the start
    // and what queries read later are both met.
    let mut system = filled();
    system.stop();
    let files = system.derived_files(Derived::Keys);
    assert!(files.len() >= 2, "{files:?}");
    let unique = unique(system.list.lock().expect("list").by_place(2).expect("there").message.id);
    let mut step = 0_u64;
    for (path, bytes) in files {
        for place in (0..bytes).step_by(397) {
            step += 1;
            let mask = 1 << (step % 8);
            if !system.world.flip_bits(system.host, &path, place, mask) {
                continue;
            }
            system.start_again(ringmq_store::LogOffset(0));
            system.check_key(&any_key(0, &unique, 1000));
            system.check_key(&any_key(0, "k3", 1000));
            system.stop();
        }
    }
}
