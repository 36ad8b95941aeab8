//! Names of simulated files: what a process sees, and what is on stable media.
//!
//! Creating, renaming and removing a name changes what is seen at once, and is written to the directory's journal. Synchronising a
//! directory (or a power cut, for a part of it) carries journal entries over to the media. Entries of one directory
//! reach the media in order, as journalling file systems do it; those of different directories have no order.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Rng;
use crate::DirEntry;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Directory,
    /// Number of the file's content.
    File(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename { from: PathBuf, to: PathBuf, node: Node },
}

impl Change {
    fn file(&self) -> Option<u64> {
        match self {
            Self::Link(_, Node::File(file)) | Self::Rename { node: Node::File(file), .. } => Some(*file),
            _ => None,
        }
    }
}

type Tree = BTreeMap<PathBuf, Node>;

pub(super) struct Names {
    seen: Tree,
    media: Tree,
    /// With the directory that each change belongs to; oldest first.
    journal: Vec<(PathBuf, Change)>,
}

impl Default for Names {
    fn default() -> Self {
        let root = Tree::from([(PathBuf::from("/"), Node::Directory)]);
        Self { seen: root.clone(), media: root, journal: Vec::new() }
    }
}

/// Every path is absolute in a simulated host: a relative one starts at the root.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => {
                absolute.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    absolute
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        self.seen.get(path).copied()
    }

    fn require_directory(&self, path: &Path) -> io::Result<()> {
        match self.get(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path, file: u64) -> io::Result<()> {
        self.require_directory(&parent(path))?;
        self.change(parent(path), Change::Link(path.to_owned(), Node::File(file)));
        Ok(())
    }

    pub(super) fn make_directories(&mut self, path: &Path) -> io::Result<()> {
        let ancestors: Vec<&Path> = path.ancestors().collect();
        for directory in ancestors.into_iter().rev() {
            match self.get(directory) {
                Some(Node::Directory) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    self.change(parent(directory), Change::Link(directory.to_owned(), Node::Directory));
                }
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        match self.get(path) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Node::Directory) if self.children(path).next().is_some() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            Some(_) => {}
        }
        self.change(parent(path), Change::Unlink(path.to_owned()));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.require_directory(&parent(to))?;
        if from == to {
            return Ok(());
        }
        if to.starts_with(from) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match (node, self.get(to)) {
            (Node::File(_), Some(Node::Directory)) => return Err(io::ErrorKind::IsADirectory.into()),
            (Node::Directory, Some(Node::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
            (Node::Directory, Some(Node::Directory)) if self.children(to).next().is_some() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        self.change(parent(to), Change::Rename { from: from.to_owned(), to: to.to_owned(), node });
        Ok(())
    }

    fn change(&mut self, directory: PathBuf, change: Change) {
        apply(&mut self.seen, &change);
        self.journal.push((directory, change));
    }

    fn children<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = (&'a Path, Node)> {
        self.seen
            .range::<Path, _>((std::ops::Bound::Excluded(directory), std::ops::Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(directory))
            .filter(move |(path, _)| path.parent() == Some(directory))
            .map(|(path, node)| (path.as_path(), *node))
    }

    /// Sorted by name.
    pub(super) fn list(&self, directory: &Path, bytes_of: impl Fn(u64) -> u64) -> io::Result<Vec<DirEntry>> {
        self.require_directory(directory)?;
        let entry = |(path, node): (&Path, Node)| DirEntry {
            name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            is_dir: node == Node::Directory,
            bytes: if let Node::File(file) = node { bytes_of(file) } else { 0 },
        };
        let mut entries: Vec<DirEntry> = self.children(directory).map(entry).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Carries the directory's changes to the media, and its own name with those of its parents, as `fsync` does on the file
    /// systems in use (they commit one journal for all).
    pub(super) fn sync(&mut self, directory: &Path) -> io::Result<()> {
        self.require_directory(directory)?;
        let media = &mut self.media;
        self.journal.retain(|(of, change)| {
            let leads_there =
                matches!(change, Change::Link(path, Node::Directory) if directory.starts_with(path));
            let carried = of == directory || leads_there;
            if carried {
                apply(media, change);
            }
            !carried
        });
        Ok(())
    }

    /// Of each directory's changes some number from the oldest on reached the media; that is what is seen now.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        let mut kept: BTreeMap<PathBuf, u64> = BTreeMap::new();
        for (directory, _) in &self.journal {
            *kept.entry(directory.clone()).or_default() += 1;
        }
        for count in kept.values_mut() {
            *count = rng.between(0, *count);
        }
        for (directory, change) in std::mem::take(&mut self.journal) {
            let left = kept.get_mut(&directory).expect("counted above");
            if *left > 0 {
                *left -= 1;
                apply(&mut self.media, &change);
            }
        }
        // Names in a directory that did not make it are gone with it.
        let mut whole = Tree::new();
        for (path, node) in std::mem::take(&mut self.media) {
            if path == Path::new("/") || whole.get(&parent(&path)) == Some(&Node::Directory) {
                whole.insert(path, node);
            }
        }
        self.seen = whole.clone();
        self.media = whole;
    }

    /// Files that have a name, or may have one after a power cut.
    pub(super) fn files(&self) -> impl Iterator<Item = u64> {
        let trees = self.seen.values().chain(self.media.values());
        let named = trees.filter_map(|node| if let Node::File(file) = node { Some(*file) } else { None });
        named.chain(self.journal.iter().filter_map(|(_, change)| change.file()))
    }
}

fn apply(tree: &mut Tree, change: &Change) {
    match change {
        Change::Link(path, node) => {
            tree.insert(path.clone(), *node);
        }
        Change::Unlink(path) => {
            tree.remove(path);
        }
        Change::Rename { from, to, node } => {
            tree.remove(from);
            tree.insert(to.clone(), *node);
            if *node == Node::Directory {
                let below: Vec<PathBuf> =
                    tree.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in below {
                    let node = tree.remove(&path).expect("listed above");
                    let rest = path.strip_prefix(from).expect("filtered above");
                    tree.insert(to.join(rest), node);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Names {
        let mut names = Names::default();
        names.make_directories(Path::new("/a/b")).expect("made");
        for (file, path) in paths.iter().enumerate() {
            names.create(Path::new(path), file as u64).expect("made");
        }
        names
    }

    #[test]
    fn a_replaced_file_is_the_old_or_the_new_after_a_power_cut() {
        let mut outcomes = [0, 0];
        for seed in 0..100 {
            let mut names = names(&["/a/b/config"]);
            names.sync(Path::new("/a/b")).expect("there");
            names.create(Path::new("/a/b/config.tmp"), 7).expect("made");
            names.rename(Path::new("/a/b/config.tmp"), Path::new("/a/b/config")).expect("both there");
            names.power_cut(&mut Rng::new(seed));
            match names.get(Path::new("/a/b/config")) {
                Some(Node::File(0)) => outcomes[0] += 1,
                Some(Node::File(7)) => outcomes[1] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(outcomes.iter().all(|n| *n > 10), "{outcomes:?}");
    }

    #[test]
    fn what_was_synchronised_stays_with_its_parents() {
        for seed in 0..50 {
            let mut names = names(&["/a/b/one"]);
            names.sync(Path::new("/a/b")).expect("there");
            names.create(Path::new("/a/two"), 9).expect("made");
            names.power_cut(&mut Rng::new(seed));
            assert_eq!(names.get(Path::new("/a/b/one")), Some(Node::File(0)));
        }
    }

    #[test]
    fn listing_is_sorted_and_not_recursive() {
        let names = names(&["/a/b/z", "/a/b/y", "/a/x", "/a/b-c"]);
        let list = |path| {
            let entries = names.list(Path::new(path), |_| 3).expect("there");
            entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(list("/a/b"), ["y", "z"]);
        assert_eq!(list("/a"), ["b", "b-c", "x"]);
    }

    #[test]
    fn a_directory_moves_with_what_is_in_it() {
        let mut names = names(&["/a/b/z"]);
        names.rename(Path::new("/a/b"), Path::new("/c")).expect("there");
        assert_eq!(names.get(Path::new("/c/z")), Some(Node::File(0)));
        assert_eq!(names.get(Path::new("/a/b/z")), None);
        assert!(names.remove(Path::new("/c")).is_err(), "not empty");
    }
}
