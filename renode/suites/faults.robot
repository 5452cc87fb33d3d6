*** Settings ***
Documentation       What may not be touched ends the run, and the log names it. Each test puts a few instructions at the
...                 end of flash and lets the CPU begin there instead of in the firmware.
Resource            board.resource
Test Teardown       Power Off

*** Variables ***
${CREATE_SNAPSHOT_ON_FAIL}  False
${PLACE}            0x002FFF00
# Thumb, a word: str r0, [r1] and ldr r0, [r1], each with b . behind it; bx r1; svc #0.
${STORE}            0xE7FE6008
${LOAD}             0xE7FE6808
${JUMP}             0xE7FE4708
${LOOP}             0xE7FEE7FE
# An endless loop that Renode does not take for idleness: adds r0, #1; b back to it.
${COUNT_UP}         0xE7FD3001

*** Test Cases ***
A Write To Flash
    Should Fault                ${STORE}  0x00200000  Write at 0x00200000 by 0x002FFF00

A Write To Flash On The AXI Bus
    Should Fault                ${STORE}  0x08000000  Write at 0x08000000 by 0x002FFF00

A Write Behind RAM
    Should Fault                ${STORE}  0x20050000  Write at 0x20050000 by 0x002FFF00

A Write Below The Stack
    Should Fault                ${STORE}  0x1FFFFFFC  Write at 0x1FFFFFFC by 0x002FFF00

A Read Of NULL
    Should Fault                ${LOAD}  0x00000000  Read at 0x00000000 by 0x002FFF00

A Read Right Below Code In ITCM
    Should Fault                ${LOAD}  0x000007FC  Read at 0x000007FC by 0x002FFF00

A Write To NULL
    Should Fault                ${STORE}  0x00000000  Write at 0x00000000 by 0x002FFF00

A Jump To NULL
    Should Fault                ${JUMP}  0x00000001  Execute at 0x00000000 by 0x00000000

Code In ITCM Is Written Until Startup Is Over
    Begin With                  ${STORE}  0x00003FFC
    Execute Command             cpu SetRegister 0 0x5A5A5A5A
    Should Run Until            TIME
    ${word}=                    Word At  0x00003FFC
    Should Be Equal As Integers  ${word}  0x5A5A5A5A
    Execute Command             gg_release
    Reset Emulation
    Start
    Go On With                  ${STORE}  0x00000800
    Should Run Until            FAULT
    Wait For Log Entry          goldgrad: Write at 0x00000800 by 0x002FFF00  timeout=0

A Jump Into RAM
    Should Fault                ${JUMP}  0x20010001  Execute at 0x20010000 by 0x20010000

A Jump To Nowhere
    Should Fault                ${JUMP}  0x70000001  Execute at 0x70000000 by 0x70000000

A Peripheral That Is Not There
    Begin With                  ${LOAD}  0x40010000
    Should Run Until            TIME
    Wait For Log Entry          [cpu: 0x2FFF00] ReadDoubleWord from non existing peripheral at 0x40010000  timeout=0

RAM May Be Written
    Begin With                  ${STORE}  0x2004FFFC
    Execute Command             cpu SetRegister 0 0x5A5A5A5A
    Should Run Until            TIME
    Should Not Be In Log        goldgrad:  timeout=0
    ${word}=                    Word At  0x2004FFFC
    Should Be Equal As Integers  ${word}  0x5A5A5A5A

An Endless Loop Ends With The Budget
    Begin With                  ${COUNT_UP}  0
    ${found}=                   Execute Command  gg_run 30 1000000
    Should Be Equal             ${found.strip()}  BUDGET

An Endless Loop Ends With The Time
    Begin With                  ${LOOP}  0
    Should Run Until            TIME

*** Keywords ***
Begin With
    [Arguments]                 ${code}  ${r1}
    Power On
    Go On With                  ${code}  ${r1}

Go On With
    [Arguments]                 ${code}  ${r1}
    Set Test Variable           ${SECONDS}  1
    Execute Command             sysbus WriteDoubleWord ${PLACE} ${code}
    Execute Command             cpu PC ${PLACE}
    Execute Command             cpu SetRegister 1 ${r1}

Should Fault
    [Arguments]                 ${code}  ${r1}  ${message}
    Begin With                  ${code}  ${r1}
    Should Run Until            FAULT
    Wait For Log Entry          goldgrad: ${message}  timeout=0
