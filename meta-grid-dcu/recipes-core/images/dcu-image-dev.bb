SUMMARY = "Image for developers: ssh with a public key, a console, tools"

require dcu-image.inc

IMAGE_INSTALL += "\
    dcu-base-dev-access \
    openssh-sshd \
    packagegroup-dcu-tools \
"

# Whose key opens it: asked for, never assumed
DCU_DEV_AUTHORIZED_KEYS ?= ""
DCU_DEV_AUTHORIZED_KEYS[doc] = "File with the public keys that dcu-image-dev lets in as root; empty: nobody."
ROOTFS_POSTPROCESS_COMMAND += "dcu_authorized_keys;"
dcu_authorized_keys() {
    if [ -n "${DCU_DEV_AUTHORIZED_KEYS}" ]; then
        install -d -m 0700 ${IMAGE_ROOTFS}${ROOT_HOME}/.ssh
        install -m 0600 "${DCU_DEV_AUTHORIZED_KEYS}" ${IMAGE_ROOTFS}${ROOT_HOME}/.ssh/authorized_keys
    fi
}
