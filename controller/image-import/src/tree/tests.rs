//! Layers on a small tree: what merges, what hides, what is refused.

use super::*;

fn parts(path: &str) -> Vec<&[u8]> {
    path.split('/').map(str::as_bytes).collect()
}

/// A tree that is told in one line per action: `+d`, `+f`, `+s PATH TARGET`, `+h PATH TARGET`, `-` whiteout, `o` opaque,
/// `=` the next layer.
fn tell(story: &[&str]) -> (Tree, Result<(), Fault>) {
    let mut tree = Tree::new(8);
    let file = std::rc::Rc::new(std::fs::File::open("/dev/null").unwrap());
    for line in story {
        let words: Vec<&str> = line.split(' ').collect();
        let meta = Meta::plain_directory();
        let done = match words.as_slice() {
            ["="] => {
                tree.begin_layer();
                Ok(())
            }
            ["+d", path] => tree.put(&parts(path), meta, Body::Directory(BTreeMap::new())),
            ["+f", path] => tree.put(&parts(path), meta, Body::File(Region::new(file.clone(), 0, 0))),
            ["+s", path, target] => tree.put(&parts(path), meta, Body::Symlink(target.as_bytes().to_vec())),
            ["+h", path, target] => tree.put_link(&parts(path), &parts(target)),
            ["-", path] => {
                let path = parts(path);
                let (name, way) = path.split_last().unwrap();
                tree.whiteout(way, name)
            }
            ["o", path] => tree.opaque(&parts(path)),
            other => panic!("{other:?}"),
        };
        if done.is_err() {
            return (tree, done);
        }
    }
    (tree, Ok(()))
}

fn listing(tree: &Tree) -> String {
    fn walk(tree: &Tree, at: NodeId, prefix: &str, out: &mut Vec<String>) {
        for (name, entry) in tree.children(at).into_iter().flatten() {
            let path = format!("{prefix}{}", String::from_utf8_lossy(name));
            out.push(path.clone());
            walk(tree, entry.node, &format!("{path}/"), out);
        }
    }
    let mut out = Vec::new();
    walk(tree, tree.root(), "", &mut out);
    out.join(" ")
}

#[test]
fn layers_merge_replace_and_hide() {
    for (story, wanted) in [
        (vec!["+f a/b/c"], "a a/b a/b/c"),
        (vec!["+d a", "+d a", "+f a/x"], "a a/x"),
        // A whiteout hides a file, a tree, or nothing.
        (vec!["+f a/x", "+f a/y", "=", "- a/x", "- a/none", "- no/thing"], "a a/y"),
        (vec!["+f a/x", "=", "- a", "+f b"], "b"),
        // Whatever the order, a layer keeps what it wrote itself.
        (vec!["+f a/old", "=", "+f a/new", "- a"], "a a/new"),
        (vec!["+f a/old", "=", "- a", "+f a/new"], "a a/new"),
        (vec!["+f a/b/old", "+f a/c", "=", "+f a/b/new", "o a"], "a a/b a/b/new"),
        (vec!["+f a/b/old", "+f a/c", "=", "o a", "+f a/b/new"], "a a/b a/b/new"),
        // A later layer may put one kind in the place of another.
        (vec!["+f a/x", "=", "+f a"], "a"),
        (vec!["+s a b", "=", "+d a", "+f a/x"], "a a/x"),
        // The way through an earlier layer's link stays in the tree, however far it climbs.
        (vec!["+d usr/lib", "+s lib usr/lib", "=", "+f lib/x"], "lib usr usr/lib usr/lib/x"),
        (vec!["+s up ../../../..", "=", "+f up/etc/x"], "etc etc/x up"),
        (vec!["+d b", "+s a /b", "=", "+f a/x"], "a b b/x"),
        // Names of one file are independent of each other.
        (vec!["+f a", "=", "+h b a", "- a"], "b"),
        (vec!["+f a", "+h d/b a"], "a d d/b"),
    ] {
        let (tree, told) = tell(&story);
        assert_eq!((told, listing(&tree).as_str()), (Ok(()), wanted), "{story:?}");
    }
}

#[test]
fn tricks_are_refused() {
    for (story, fault) in [
        (vec!["+f a", "+f a"], Fault::Duplicate),
        (vec!["+d a", "+s a /"], Fault::Duplicate),
        (vec!["+f a/x", "+s a /"], Fault::Duplicate),
        (vec!["+d a", "=", "+f a/x", "+s a /"], Fault::Duplicate),
        (vec!["+s a /etc", "+f a/passwd"], Fault::ThroughSymlink),
        (vec!["+f x", "+s a .", "+h b a/x"], Fault::ThroughSymlink),
        (vec!["+f x", "=", "+s a .", "- a/x"], Fault::ThroughSymlink),
        (vec!["+f a", "+f a/x"], Fault::NotADirectory),
        (vec!["+h a b"], Fault::LinkTarget),
        (vec!["+h a a"], Fault::LinkTarget),
        (vec!["+s b x", "+h a b"], Fault::LinkTarget),
        (vec!["+d b", "+h a b"], Fault::LinkTarget),
        (vec!["+f b", "+f a", "+h a b"], Fault::Duplicate),
        (vec!["+s a b", "+s b a", "=", "+f a/x"], Fault::LinkLoop),
        (vec!["+f 1/2/3/4/5/6/7/8/9"], Fault::TooDeep(8)),
        (vec!["+d 1/2/3/4/5/6", "+s s 1/2/3/4/5/6", "=", "+f s/7/8/9"], Fault::TooDeep(8)),
    ] {
        let (_, told) = tell(&story);
        assert_eq!(told, Err(fault), "{story:?}");
    }
}

#[test]
fn lookups_follow_links_inside_the_root() {
    let (mut tree, _) = tell(&["+f r/usr/lib/init", "+s r/sbin /usr/lib", "+s r/loop loop", "+s r/up ../../usr"]);
    assert!(tree.lookup("r/sbin/init").is_none(), "the absolute target is not in this root yet");
    assert!(tree.reroot(b"r"));
    assert!(tree.lookup("/sbin/init").is_some() && tree.lookup("/up/lib/init").is_some());
    assert!(tree.lookup("/loop").is_none() && tree.lookup("/sbin/none").is_none());
    assert!(!tree.reroot(b"sbin"));
}
