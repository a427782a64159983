# The lite gate: our recipes' own tasks run, nothing that they are built with or need at run time is built.
python __anonymous() {
    d.setVar("DEPENDS", "")
    for package in (d.getVar("PACKAGES") or "").split():
        for kind in ("RDEPENDS", "RRECOMMENDS"):
            d.delVar(f"{kind}:{package}")
}

# What do_install made, as the image would have it: mode, owner (fakeroot's), digest, path
do_install[postfuncs] += "lite_manifest"
python lite_manifest() {
    import grp, hashlib, os, pwd
    from pathlib import Path

    root, lines = Path(d.getVar("D")), []
    for folder, _, files in sorted(os.walk(root)):
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_symlink():
                continue
            state = path.stat()
            owner = "root:root" if (state.st_uid, state.st_gid) == (0, 0) else f"{state.st_uid}:{state.st_gid}"
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{state.st_mode & 0o7777:o} {owner} {digest} /{path.relative_to(root)}\n")
    Path(d.getVar("T"), "payload.manifest").write_text("".join(lines))
}
