"""The power-cut rig: records what reaches the disks, replays every state that a power cut could have left, checks it.

`log` is the format, `nbd` and `recorder` write it, `replay` is the model of what a cut leaves, `plans` chooses states,
`checks` judges them. What drives QEMU stands in ci/device/powercut.
"""
