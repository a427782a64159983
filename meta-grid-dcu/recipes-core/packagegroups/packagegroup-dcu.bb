SUMMARY = "What a data concentrator unit consists of"

PACKAGE_ARCH = "${MACHINE_ARCH}"
inherit packagegroup

PACKAGES = "\
    ${PN} \
    ${PN}-factory \
    ${PN}-fan \
    ${PN}-security \
    ${PN}-tools \
"

# Application, updates, time, packet filter, last gasp
RDEPENDS:${PN} = "\
    ca-certificates \
    chrony \
    dcu \
    dcu-base \
    dcu-gurux \
    dcu-swupdate \
    iproute2-ip \
    lastgasp \
    libubootenv-bin \
    nftables \
    swupdate \
    tzdata-core \
"

# Field-area networks: the slot for the Wi-SUN border router
RDEPENDS:${PN}-fan = "${VIRTUAL-RUNTIME_wisun-border-router}"

# Keys in hardware: TPM 2.0 and ATECC608 behind PKCS#11. A build that does not accept Microchip's licence goes without the second
RDEPENDS:${PN}-security = "\
    ${@bb.utils.contains('DISTRO_FEATURES', 'tpm2', '${DCU_TPM2_PACKAGES}', '', d)} \
    ${@bb.utils.contains('LICENSE_FLAGS_ACCEPTED', 'microchip_cryptoauthlib', 'cryptoauthlib', '', d)} \
"
DCU_TPM2_PACKAGES = "\
    libtss2 \
    libtss2-mu \
    libtss2-tcti-device \
    tpm2-openssl \
    tpm2-pkcs11 \
    tpm2-tools \
    tpm2-tss \
"

# What the factory's image works with
RDEPENDS:${PN}-factory = "\
    bmaptool \
    e2fsprogs-e2fsck \
    mmc-utils \
    openssl-bin \
    util-linux-blkid \
"

# For developers
RDEPENDS:${PN}-tools = "\
    htop \
    i2c-tools \
    libgpiod-tools \
    python3-modules \
    strace \
    tcpdump \
    usbutils \
"
