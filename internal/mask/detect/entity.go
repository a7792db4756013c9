package detect

// Entity is a kind of sensitive value.
type Entity uint8

// The kinds. National ids and the like follow under the names that Microsoft
// Presidio gives them, in lower case.
const (
	None Entity = iota
	Email
	CreditCard
	IBAN
	SSN
	Phone
	IP
	Secret
	URL
	Date
	MAC
	Crypto

	usITIN
	usPassport
	usDriverLicense
	usBankNumber
	abaRouting
	usNPI
	usMBI
	medicalLicense
	ukNHS
	ukNINO
	ukPassport
	ukDrivingLicence
	ukPostcode
	ukVehicle
	auABN
	auACN
	auMedicare
	auTFN
	brCNPJ
	brCPF
	caSIN
	chAHV
	cnResidentID
	deBSNR
	deDriverLicense
	deTradeRegister
	deHealthInsurance
	deIDCard
	deVehicle
	deLANR
	dePassport
	dePLZ
	deSocialSecurity
	deTaxID
	deTaxNumber
	deVATID
	esNIE
	esNIF
	esPassport
	fiPIC
	frNIR
	inAadhaar
	inGSTIN
	inPAN
	inPassport
	inVehicle
	inVoter
	itDriverLicense
	itFiscalCode
	itIdentityCard
	itPassport
	itVAT
	krBRN
	krDriverLicense
	krFRN
	krPassport
	krRRN
	mxCURP
	ngNIN
	ngVehicle
	nlBSN
	phTIN
	plPESEL
	sePersonnummer
	seOrganisation
	sgNRIC
	sgUEN
	thTNIN
	trNationalID
	trPlate
	zaID

	numEntities
)

// NationalIDs is the name that stands for every national id together.
const NationalIDs = "national_id"

// Info describes one detector for whoever writes a mask.
type Info struct {
	Name string
	Doc  string // one sentence
}

var infos = [numEntities]Info{
	Email:      {"email", "E-mail addresses, with international domains and local parts."},
	CreditCard: {"credit_card", "Payment card numbers of 12 to 19 digits that pass Luhn and belong to an issuer, with or without separators."},
	IBAN:       {"iban", "International bank account numbers, by country, length, structure and checksum."},
	SSN:        {"ssn", "US social security numbers: 123-45-6789, or nine bare digits beside a word that says so."},
	Phone:      {"phone", "Telephone numbers, international or in the national forms of some thirty countries."},
	IP:         {"ip", "IPv4 and IPv6 addresses and networks."},
	Secret:     {"secret", "Credentials: keys and tokens of known form, private keys, JSON web tokens, and values named password, token, secret or key."},
	URL:        {"url", "Web addresses."},
	Date:       {"date", "Calendar dates and timestamps."},
	MAC:        {"mac_address", "Hardware addresses of network interfaces."},
	Crypto:     {"crypto", "Bitcoin addresses, by checksum."},

	usITIN:            {"us_itin", "US individual taxpayer numbers."},
	usPassport:        {"us_passport", "US passport numbers."},
	usDriverLicense:   {"us_driver_license", "US driver's licence numbers."},
	usBankNumber:      {"us_bank_number", "US bank account numbers."},
	abaRouting:        {"aba_routing_number", "US bank routing numbers, by checksum."},
	usNPI:             {"us_npi", "US health provider identifiers, by checksum."},
	usMBI:             {"us_mbi", "US Medicare beneficiary identifiers."},
	medicalLicense:    {"medical_license", "US DEA registration numbers, by checksum."},
	ukNHS:             {"uk_nhs", "UK NHS numbers, by checksum."},
	ukNINO:            {"uk_nino", "UK national insurance numbers."},
	ukPassport:        {"uk_passport", "UK passport numbers."},
	ukDrivingLicence:  {"uk_driving_licence", "UK driving licence numbers."},
	ukPostcode:        {"uk_postcode", "UK postcodes."},
	ukVehicle:         {"uk_vehicle_registration", "UK vehicle registrations."},
	auABN:             {"au_abn", "Australian business numbers, by checksum."},
	auACN:             {"au_acn", "Australian company numbers, by checksum."},
	auMedicare:        {"au_medicare", "Australian Medicare numbers, by checksum."},
	auTFN:             {"au_tfn", "Australian tax file numbers, by checksum."},
	brCNPJ:            {"br_cnpj", "Brazilian company numbers, by checksum."},
	brCPF:             {"br_cpf", "Brazilian personal tax numbers, by checksum."},
	caSIN:             {"ca_sin", "Canadian social insurance numbers, by checksum."},
	chAHV:             {"ch_ahv", "Swiss social insurance numbers, by checksum."},
	cnResidentID:      {"cn_resident_id", "Chinese resident identity numbers, by date and checksum."},
	deBSNR:            {"de_bsnr", "German medical practice numbers."},
	deDriverLicense:   {"de_fuehrerschein", "German driving licence numbers."},
	deTradeRegister:   {"de_handelsregister", "German trade register numbers."},
	deHealthInsurance: {"de_health_insurance", "German health insurance numbers, by checksum."},
	deIDCard:          {"de_id_card", "German identity card numbers, by checksum."},
	deVehicle:         {"de_kfz", "German vehicle registrations."},
	deLANR:            {"de_lanr", "German physician numbers, by checksum."},
	dePassport:        {"de_passport", "German passport numbers, by checksum."},
	dePLZ:             {"de_plz", "German postcodes."},
	deSocialSecurity:  {"de_social_security", "German pension insurance numbers, by checksum."},
	deTaxID:           {"de_tax_id", "German personal tax ids, by checksum."},
	deTaxNumber:       {"de_tax_number", "German tax numbers."},
	deVATID:           {"de_vat_id", "German VAT ids."},
	esNIE:             {"es_nie", "Spanish foreigners' numbers, by checksum."},
	esNIF:             {"es_nif", "Spanish personal tax numbers, by checksum."},
	esPassport:        {"es_passport", "Spanish passport numbers."},
	fiPIC:             {"fi_personal_identity_code", "Finnish personal identity codes, by checksum."},
	frNIR:             {"fr_nir", "French social security numbers, by checksum."},
	inAadhaar:         {"in_aadhaar", "Indian Aadhaar numbers, by checksum."},
	inGSTIN:           {"in_gstin", "Indian goods and services tax numbers."},
	inPAN:             {"in_pan", "Indian permanent account numbers."},
	inPassport:        {"in_passport", "Indian passport numbers."},
	inVehicle:         {"in_vehicle_registration", "Indian vehicle registrations."},
	inVoter:           {"in_voter", "Indian voter ids."},
	itDriverLicense:   {"it_driver_license", "Italian driving licence numbers."},
	itFiscalCode:      {"it_fiscal_code", "Italian fiscal codes, by checksum."},
	itIdentityCard:    {"it_identity_card", "Italian identity card numbers."},
	itPassport:        {"it_passport", "Italian passport numbers."},
	itVAT:             {"it_vat_code", "Italian VAT numbers, by checksum."},
	krBRN:             {"kr_brn", "Korean business numbers, by checksum."},
	krDriverLicense:   {"kr_driver_license", "Korean driving licence numbers."},
	krFRN:             {"kr_frn", "Korean foreigners' numbers."},
	krPassport:        {"kr_passport", "Korean passport numbers."},
	krRRN:             {"kr_rrn", "Korean resident numbers."},
	mxCURP:            {"mx_curp", "Mexican population registry codes, by checksum."},
	ngNIN:             {"ng_nin", "Nigerian national identity numbers."},
	ngVehicle:         {"ng_vehicle_registration", "Nigerian vehicle registrations."},
	nlBSN:             {"nl_bsn", "Dutch citizen service numbers, by checksum."},
	phTIN:             {"ph_tin", "Philippine tax numbers."},
	plPESEL:           {"pl_pesel", "Polish PESEL numbers, by date and checksum."},
	sePersonnummer:    {"se_personnummer", "Swedish personal numbers, by date and checksum."},
	seOrganisation:    {"se_organisationsnummer", "Swedish organisation numbers, by checksum."},
	sgNRIC:            {"sg_nric_fin", "Singaporean identity numbers."},
	sgUEN:             {"sg_uen", "Singaporean entity numbers."},
	thTNIN:            {"th_tnin", "Thai national ids, by checksum."},
	trNationalID:      {"tr_national_id", "Turkish national ids, by checksum."},
	trPlate:           {"tr_license_plate", "Turkish vehicle registrations."},
	zaID:              {"za_id_number", "South African ids, by date and checksum."},
}

// String is the entity's name, as masks spell it.
func (e Entity) String() string {
	if e < numEntities {
		return infos[e].Name
	}
	return ""
}

// All lists every detector's name, and the name that stands for all national ids.
func All() []Info {
	all := make([]Info, 0, numEntities)
	all = append(all, infos[Email:]...)
	return append(all, Info{NationalIDs, "Every national id above, only where its form is unmistakable or a word beside it says so."})
}

// entitySet is a set of entities.
type entitySet [2]uint64

func (s *entitySet) add(e Entity)      { s[e>>6] |= 1 << (e & 63) }
func (s *entitySet) has(e Entity) bool { return s[e>>6]&(1<<(e&63)) != 0 }

// IsNationalID says whether an entity is a national id.
func IsNationalID(e Entity) bool { return e > Crypto && e < numEntities }
