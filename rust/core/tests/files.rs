//! Listing files, against a walk that collects everything and sorts it.
#![allow(clippy::unwrap_used, clippy::panic)] // a test may panic: that is how it fails

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use batch_score_core::files::{FileList, SuffixCount};
use batch_score_core::{Error, Result};
use proptest::prelude::*;

fn touch(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, b"").unwrap();
}

fn list(root: &Path, inputs: &[&str]) -> Result<Vec<String>> {
    let files =
        FileList::new(inputs.iter().map(|input| root.join(input)).collect())?.collect::<Result<Vec<_>>>()?;
    Ok(files.iter().map(|file| file.strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect())
}

fn tree(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        touch(&folder.path().join(file));
    }
    folder
}

fn naive_walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().as_bytes().starts_with(b".") {
        } else if path.is_dir() {
            naive_walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

proptest! {
    #[test]
    fn a_folder_lists_its_visible_files_name_by_name(
        paths in prop::collection::vec(prop::collection::vec("[a.B-]{1,2}", 1..4), 1..20)
    ) {
        let folder = tempfile::tempdir().unwrap();
        touch(&folder.path().join("zz"));
        for path in paths {
            let path: PathBuf = path.iter().filter(|name| !["..", "."].contains(&name.as_str())).collect();
            let path = folder.path().join(path);
            // A name that is taken by a file cannot be a folder too.
            if path != folder.path() && fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                fs::write(path, b"").unwrap();
            }
        }
        let mut expected = Vec::new();
        naive_walk(folder.path(), &mut expected);
        expected.sort(); // paths compare component by component
        let found = FileList::new(vec![folder.path().to_path_buf()]).unwrap().collect::<Result<Vec<_>>>().unwrap();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn patterns_match_name_by_name() {
    let folder = tree(&[
        "a/1.csv",
        "a/2.txt",
        "a/b/3.csv",
        "a/b/c/4.csv",
        "d/1.csv",
        "a/.h.csv",
        ".h/5.csv",
        "x[1].csv",
    ]);
    let cases: [(&str, &[&str]); 12] = [
        ("a/*.csv", &["a/1.csv"]),
        ("*/1.csv", &["a/1.csv", "d/1.csv"]),
        ("a/**/*.csv", &["a/1.csv", "a/b/3.csv", "a/b/c/4.csv"]),
        ("**/b/**", &["a/b/3.csv", "a/b/c/4.csv"]),
        ("a/**", &["a/1.csv", "a/2.txt", "a/b/3.csv", "a/b/c/4.csv"]),
        ("[!a]/?.csv", &["d/1.csv"]),
        ("a/[12].*", &["a/1.csv", "a/2.txt"]),
        ("a/*/*.csv", &["a/b/3.csv"]),
        ("a/.h*", &["a/.h.csv"]),
        (".h/*", &[".h/5.csv"]),
        ("x[1].csv", &["x[1].csv"]),
        ("*.csv", &["x[1].csv"]),
    ];
    for (pattern, expected) in cases {
        assert_eq!(list(folder.path(), &[pattern]).unwrap(), expected, "{pattern}");
    }
}

#[test]
fn links_are_followed_and_loops_and_broken_links_survived() {
    let folder = tree(&["data/1", "other/2"]);
    symlink(folder.path().join("data"), folder.path().join("data/loop")).unwrap();
    symlink(folder.path().join("other"), folder.path().join("data/other")).unwrap();
    symlink(folder.path().join("nowhere"), folder.path().join("data/broken")).unwrap();
    symlink("self", folder.path().join("data/self")).unwrap();
    symlink(folder.path().join("other/2"), folder.path().join("data/file")).unwrap();
    assert_eq!(list(folder.path(), &["data"]).unwrap(), ["data/1", "data/file", "data/other/2"]);
    assert_eq!(list(folder.path(), &["data/**/2"]).unwrap(), ["data/other/2"]);
}

#[test]
fn a_file_of_several_inputs_is_listed_once_for_the_first() {
    let folder = tree(&["a/1", "a/2", "b/3", "a/.hidden/4"]);
    let cases: [(&[&str], &[&str]); 6] = [
        (&["a/2", "a"], &["a/2", "a/1"]),
        (&["a", "a/1", "b"], &["a/1", "a/2", "b/3"]),
        (&["*/[13]", "a/../a/1", "b"], &["a/1", "b/3"]),
        (&["b", "a", "b"], &["b/3", "a/1", "a/2"]),
        (&["a", "a/.hidden"], &["a/1", "a/2", "a/.hidden/4"]),
        (&["a/1", "a/1"], &["a/1"]),
    ];
    for (inputs, expected) in cases {
        assert_eq!(list(folder.path(), inputs).unwrap(), expected, "{inputs:?}");
    }
}

#[test]
fn inputs_without_files_say_what_is_missing() {
    let folder = tree(&["a/1", "b/.hidden"]);
    for (input, expected) in [
        ("c", "no such file or folder"),
        ("https://host/a", "URLs are not supported; copy the files to this machine and give their path"),
        ("s3://bucket/*.csv", "URLs are not supported; copy the files to this machine and give their path"),
        ("b", "the folder has no files"),
        ("a/*.csv", "the pattern matches no file"),
        ("gone/*", "the pattern matches no file"),
        ("a/1/*", "the pattern matches no file"),
    ] {
        match list(folder.path(), &["a", input]) {
            Err(Error::NoInput { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{input}: {other:?}"),
        }
    }
    assert!(matches!(list(folder.path(), &["a/[1"]), Err(Error::Option(_))));
}

#[test]
fn names_that_are_not_utf8_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(OsStr::from_bytes(b"caf\xE9.csv"));
    touch(&path);
    let found =
        FileList::new(vec![folder.path().join("*.csv")]).unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert_eq!(found, [path]);
}

#[test]
fn files_are_counted_by_suffix_whatever_its_case() {
    let mut count = SuffixCount::default();
    for file in ["x/a.csv", "b.CSV.gz", "c.txt", "csv", "d.csv/e"] {
        count.add(PathBuf::from(file), &[".csv".to_owned(), ".csv.gz".to_owned()]);
    }
    assert_eq!((count.matching, count.other), (2, 3));
    assert_eq!(count.first_matching, Some(PathBuf::from("x/a.csv")));
    assert_eq!(count.first_other, Some(PathBuf::from("c.txt")));
}
