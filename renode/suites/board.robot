*** Settings ***
Documentation       The firmware and its program on the whole board: what it says, what a step takes, where memory is.
Resource            board.resource
Test Teardown       Power Off

*** Variables ***
${CREATE_SNAPSHOT_ON_FAIL}  False

*** Test Cases ***
The Firmware Says Its Name And Waits
    Start
    Wait For Line On Uart       goldgrad: by-hand  timeout=0
    Mailbox Should Have         magic  0x424D4747
    Mailbox Should Have         version  1
    Mailbox Should Have         status  1
    Mailbox Should Have         steps  0

A Step Takes The Same Instructions As In Another Emulator
    Start
    Train One Step
    ${found}=                   Execute Command  gg_counts
    Should Be Equal             ${found.strip()}  ${COUNTS}
    Mailbox Should Have         steps  1
    Mailbox Should Have         status  1

Code Is Copied Into ITCM
    Start
    ${from}=                    Address Of  gg_itcm_load
    ${to}=                      Address Of  gg_itcm_start
    ${end}=                     Address Of  gg_itcm_end
    Should Be Equal As Integers  ${to}  0x00000800
    Should Be True              ${end} > ${to}
    FOR  ${offset}  IN RANGE  0  ${end - ${to}}  508
        ${image}=               Word At  ${from + ${offset}}
        ${copy}=                Word At  ${to + ${offset}}
        Should Be Equal As Integers  ${copy}  ${image}
    END

A Report Comes By UART
    Start
    Train One Step
    Command                     3  0
    Wait For Line On Uart       by-hand steps=00000001 stack=  timeout=0

Steps Can Be Undone
    Start
    Command                     2  0xFFFFFFFF
    ${mailbox}=                 Mailbox
    ${at}=                      Evaluate  ${mailbox} + 4 * ${FIELD.result}
    ${first}=                   Word At  ${at}
    Train One Step
    Command                     2  0xFFFFFFFF
    ${trained}=                 Word At  ${at}
    Should Not Be Equal         ${first}  ${trained}
    Command                     4  0
    Command                     2  0xFFFFFFFF
    ${again}=                   Word At  ${at}
    Should Be Equal             ${first}  ${again}

Memory Is Where The Chip Has It
    [Template]                  Should Keep A Word At Both Ends
    0x00000000  0x00003FFC      # ITCM
    0x08000000  0x080FFFFC      # flash
    0x20000000  0x2000FFFC      # DTCM
    0x20010000  0x2004BFFC      # SRAM1
    0x2004C000  0x2004FFFC      # SRAM2

Nothing Lies Behind RAM
    Power On
    Word At                     0x20050000
    Wait For Log Entry          ReadDoubleWord from non existing peripheral at 0x20050000  timeout=0

Flash Has Two Addresses
    Power On
    Execute Command             sysbus WriteDoubleWord 0x080FFFF0 0x12345678
    ${word}=                    Word At  0x002FFFF0
    Should Be Equal As Integers  ${word}  0x12345678

*** Keywords ***
Should Keep A Word At Both Ends
    [Arguments]                 ${first}  ${last}
    Power On
    FOR  ${address}  IN  ${first}  ${last}
        Execute Command         sysbus WriteDoubleWord ${address} ${address}
        ${word}=                Word At  ${address}
        Should Be Equal As Integers  ${word}  ${address}
    END
    Execute Command             gg_release
    Reset Emulation
