//! Whether a page is well-formed. The load generator's own tests use this file, too.

/// Names of all elements of a page, in the order in which they begin; panics when one
/// is not closed where it should be.
pub(crate) fn elements(page: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a page says what it is");
    for tag in body.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed where another is open");
            continue;
        }
        let name = tag.split([' ', '/']).next().expect("a split has a first part").to_owned();
        found.push(name.clone());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    found
}
