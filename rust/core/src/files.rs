//! The files behind the inputs a user names: files, folders and glob patterns.

mod names;
mod pattern;
mod walk;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

use pattern::{Parts, is_hidden, is_pattern};
use walk::Walk;

/// The files of some inputs, in the order of the inputs and sorted within each, one at a time.
///
/// Paths are compared name by name, as bytes. Folders are walked to any depth; links are followed. A file or folder whose
/// name begins with a dot is found only if an input, or a part of a pattern, spells the dot. A file that
/// belongs to several inputs is listed once, for the first of them. Patterns match files, not folders.
pub struct FileList {
    inputs: Vec<Input>,
    /// Position of the current input.
    at: usize,
    walk: Option<Walk>,
    /// Whether the current input had a file.
    any: bool,
    earlier: Earlier,
}

struct Input {
    given: PathBuf,
    kind: Kind,
    /// The file, or the folder that is walked, as given ...
    base: PathBuf,
    /// ... and with the links to it resolved, by which two spellings are told to be the same.
    root: PathBuf,
}

enum Kind {
    File,
    Folder,
    Pattern(Parts),
}

impl FileList {
    /// Looks each input up, without listing anything. An input that exists under that very name is no pattern.
    ///
    /// # Errors
    /// [`Error::NoInput`] when a file or folder is missing, [`Error::Option`] when a pattern is malformed.
    pub fn new(inputs: Vec<PathBuf>) -> Result<Self> {
        let mut roots = Roots::default();
        let inputs =
            inputs.into_iter().map(|given| Input::new(given, &mut roots)).collect::<Result<Vec<_>>>()?;
        let earlier = if inputs.len() > 1 { Earlier::new(&inputs) } else { Earlier::default() };
        Ok(Self { inputs, at: 0, walk: None, any: false, earlier })
    }

    fn step(&mut self) -> Result<Step> {
        let Some(input) = self.inputs.get(self.at) else { return Ok(Step::End) };
        let parts = match &input.kind {
            Kind::File => {
                self.at += 1;
                return Ok(self.earlier.pass(self.at - 1, input, input.given.clone()));
            }
            Kind::Folder => &Parts::everything(),
            Kind::Pattern(parts) => parts,
        };
        let walk = match &mut self.walk {
            Some(walk) => walk,
            None => self.walk.insert(Walk::new(&input.base, parts.clone())?),
        };
        if let Some(file) = walk.next_file()? {
            self.any = true;
            return Ok(self.earlier.pass(self.at, input, file));
        }
        if !self.any {
            return Err(input.empty());
        }
        (self.walk, self.any) = (None, false);
        self.at += 1;
        Ok(Step::Again)
    }
}

enum Step {
    Found(PathBuf),
    Again,
    End,
}

impl Iterator for FileList {
    type Item = Result<PathBuf>;

    /// The next file; nothing follows an error.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Step::Found(file)) => return Some(Ok(file)),
                Ok(Step::Again) => {}
                Ok(Step::End) => return None,
                Err(fault) => {
                    self.inputs.clear();
                    return Some(Err(fault));
                }
            }
        }
    }
}

impl Input {
    fn new(given: PathBuf, roots: &mut Roots) -> Result<Self> {
        let (kind, base) = match fs::metadata(&given) {
            Ok(about) if about.is_dir() => (Kind::Folder, given.clone()),
            Ok(_) => (Kind::File, given.clone()),
            Err(_) if given.to_string_lossy().contains("://") => {
                return Err(Error::NoInput {
                    input: given.display().to_string(),
                    reason: "URLs are not supported; copy the files to this machine and give their path",
                });
            }
            Err(_) if is_pattern(&given) => {
                let (base, parts) = Parts::parse(&given)?;
                (Kind::Pattern(parts), base)
            }
            Err(fault) if walk::names_nothing(&fault) => {
                return Err(Error::NoInput {
                    input: given.display().to_string(),
                    reason: "no such file or folder",
                });
            }
            Err(fault) => return Err(Error::io(&given, fault)),
        };
        let root = if matches!(kind, Kind::File) { roots.file(&base) } else { roots.folder(&base) };
        Ok(Self { given, kind, base, root })
    }

    fn empty(&self) -> Error {
        let reason = match self.kind {
            Kind::Pattern(_) => "the pattern matches no file",
            Kind::File | Kind::Folder => "the folder has no files",
        };
        Error::NoInput { input: self.given.display().to_string(), reason }
    }
}

/// Which input is the first that a file belongs to, told from the inputs alone: the files listed so far
/// need not be remembered.
#[derive(Default)]
struct Earlier {
    files: HashMap<PathBuf, usize>,
    folders: HashMap<PathBuf, usize>,
    patterns: Vec<(usize, PathBuf, Parts)>,
}

impl Earlier {
    fn new(inputs: &[Input]) -> Self {
        let mut earlier = Self::default();
        for (number, input) in inputs.iter().enumerate() {
            let root = input.root.clone();
            match &input.kind {
                Kind::File => {
                    earlier.files.entry(root).or_insert(number);
                }
                Kind::Folder => {
                    earlier.folders.entry(root).or_insert(number);
                }
                Kind::Pattern(parts) => earlier.patterns.push((number, root, parts.clone())),
            }
        }
        earlier
    }

    /// Passes a file of input `number` on, unless it belongs to an earlier input.
    fn pass(&self, number: usize, input: &Input, file: PathBuf) -> Step {
        if number == 0 {
            return Step::Found(file);
        }
        let located = match file.strip_prefix(&input.base) {
            Ok(below) if !below.as_os_str().is_empty() => input.root.join(below),
            _ => input.root.clone(),
        };
        if self.first(&located).is_some_and(|first| first < number) { Step::Again } else { Step::Found(file) }
    }

    fn first(&self, file: &Path) -> Option<usize> {
        let explicit = self.files.get(file).copied();
        let visible = |(below, _): &(&Path, &Path)| below.file_name().is_some_and(|name| !is_hidden(name));
        let above = file.ancestors().zip(file.ancestors().skip(1)).take_while(visible);
        let folder = above.filter_map(|(_, folder)| self.folders.get(folder).copied()).min();
        let covers =
            |root: &Path, parts: &Parts| file.strip_prefix(root).is_ok_and(|rest| parts.match_path(rest));
        let pattern =
            self.patterns.iter().find(|(_, root, parts)| covers(root, parts)).map(|(number, ..)| *number);
        [explicit, folder, pattern].into_iter().flatten().min()
    }
}

/// Resolves the folders of inputs, each folder once.
#[derive(Default)]
struct Roots(HashMap<PathBuf, PathBuf>);

impl Roots {
    /// The folder with all links resolved, or as it is if it does not exist.
    fn folder(&mut self, path: &Path) -> PathBuf {
        if let Some(known) = self.0.get(path) {
            return known.clone();
        }
        let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let root = fs::canonicalize(named).unwrap_or_else(|_| path.to_path_buf());
        self.0.entry(path.to_path_buf()).or_insert(root).clone()
    }

    /// A file's name in its resolved folder: a link to a file is another file than its target.
    fn file(&mut self, path: &Path) -> PathBuf {
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => self.folder(folder).join(name),
            _ => path.to_path_buf(),
        }
    }
}

/// How many files there are of two kinds, told by their suffixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuffixCount {
    /// Files whose name ends in one of the suffixes.
    pub matching: u64,
    /// All other files.
    pub other: u64,
    /// The first matching file.
    pub first_matching: Option<PathBuf>,
    /// The first other file.
    pub first_other: Option<PathBuf>,
}

impl SuffixCount {
    /// Counts one file. Suffixes are compared without regard to the case of ASCII letters.
    pub fn add(&mut self, file: PathBuf, suffixes: &[String]) {
        let name = file.file_name().unwrap_or_default();
        let (count, first) = if suffixes.iter().any(|suffix| ends_with(name, suffix)) {
            (&mut self.matching, &mut self.first_matching)
        } else {
            (&mut self.other, &mut self.first_other)
        };
        *count += 1;
        first.get_or_insert(file);
    }
}

fn ends_with(name: &OsStr, suffix: &str) -> bool {
    let end = name.len().checked_sub(suffix.len()).and_then(|cut| name.as_bytes().get(cut..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
}
